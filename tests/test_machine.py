"""Free memory as a container has it: within its limit, and without what the system only keeps of files."""

from types import SimpleNamespace

import psutil
import pytest

from minigpt4_model.weights import machine

GB = 10**9


@pytest.fixture
def container(tmp_path, monkeypatch):
    """Called with bytes: a control group of `version`, in which so much is taken, of it so much by files, on a machine with 64 GB free."""

    def be(version: int, limit: int | str, used: int, files: int) -> None:
        folder, names = tmp_path / str(version), machine._CONTROL_GROUPS[2 - version][1:]
        folder.mkdir(exist_ok=True)
        (folder / names[0]).write_text(f"{limit}\n")
        (folder / names[1]).write_text(f"{used}\n")
        inactive, active = names[2]
        (folder / "memory.stat").write_text(f"anon 5\nfile {files}\n{inactive} {files // 4}\n{active} {files - files // 4}\n")
        other = (tmp_path / "none", *machine._CONTROL_GROUPS[version - 1][1:])
        monkeypatch.setattr(machine, "_CONTROL_GROUPS", ((folder, *names), other))

    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=64 * GB))
    return be


@pytest.mark.parametrize("version", [1, 2])
def test_a_container_has_its_limit_less_what_programs_take(container, version):
    container(version, 24 * GB, 21 * GB, 14 * GB)
    assert machine.free_memory() == 17 * GB
    container(version, 24 * GB, 30 * GB, 1 * GB)
    assert machine.free_memory() == 0


@pytest.mark.parametrize(("version", "limit"), [(1, 9223372036854771712), (2, "max")])
def test_a_container_without_a_limit_has_what_the_machine_has(container, version, limit):
    container(version, limit, 21 * GB, 14 * GB)
    assert machine.free_memory() == 64 * GB
