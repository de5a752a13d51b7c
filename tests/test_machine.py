"""Free memory as a container has it: within its limit, and without what the system only keeps of files."""

from types import SimpleNamespace

import psutil
import pytest

from minigpt4_model.weights import machine

GB = 10**9


@pytest.fixture
def container(tmp_path, monkeypatch):
    """Called with bytes: a control group of `version`, in which so much is taken, of it so much by files, on a machine with 64 GB free.

    `group` is the group's path below the mount, and `own` what /proc/self/cgroup says that it is.
    """

    def be(version: int, limit: int | str, used: int, files: int, group: str = "", own: str = "/") -> None:
        controller, *names = machine._CONTROL_GROUPS[2 - version][1:]
        folder = tmp_path / str(version) / group
        folder.mkdir(parents=True, exist_ok=True)
        (folder / names[0]).write_text(f"{limit}\n")
        (folder / names[1]).write_text(f"{used}\n")
        inactive, active = names[2]
        (folder / "memory.stat").write_text(f"anon 5\nfile {files}\n{inactive} {files // 4}\n{active} {files - files // 4}\n")
        other = (tmp_path / "none", *machine._CONTROL_GROUPS[version - 1][1:])
        monkeypatch.setattr(machine, "_OWN_GROUPS", tmp_path / "cgroup")
        (tmp_path / "cgroup").write_text(f"9:cpu,cpuacct:/elsewhere\n4:memory:{own}\n0::/\n" if version == 1 else f"0::{own}\n")
        found = ((tmp_path / str(version), controller, *names), other)
        monkeypatch.setattr(machine, "_CONTROL_GROUPS", found if version == 2 else found[::-1])

    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=64 * GB))
    return be


@pytest.mark.parametrize("version", [1, 2])
def test_the_limit_is_that_of_the_own_group_and_of_those_around_it(container, version):
    container(version, 48 * GB, 8 * GB, 0)
    container(version, 8 * GB, 3 * GB, 1 * GB, "user.slice/session.scope", own="/user.slice/session.scope")
    assert machine.free_memory() == 6 * GB
    container(version, 5 * GB, 1 * GB, 0, "user.slice", own="/user.slice/session.scope")
    assert machine.free_memory() == 4 * GB
    container(version, 8 * GB, 3 * GB, 1 * GB, "user.slice/session.scope", own="/user.slice/other")
    assert machine.free_memory() == 4 * GB
    container(version, 8 * GB, 3 * GB, 1 * GB, "user.slice/session.scope", own="/../outside")
    assert machine.free_memory() == 40 * GB


def test_a_container_that_is_told_its_path_outside_has_the_limit_of_its_mount(container):
    container(1, 24 * GB, 21 * GB, 14 * GB, own="/docker/0123456789abcdef")
    assert machine.free_memory() == 17 * GB


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
