"""The walk over tar headers finds what `tarfile` finds, whoever wrote the file, and says where one is damaged."""

import io
import itertools
import os
import shutil
import subprocess
import tarfile

import pytest

from minigpt4_model.training.sources.tar_headers import TarDamage, tar_members

NAMES = ["a.jpg", "folder/b.txt", "p" * 90 + "/" + "q" * 90 + ".json", "l" * 300 + ".jpg", "grün/ключ.txt", "x" * 100, "empty.txt"]


def write(path, format_=tarfile.PAX_FORMAT, mtime=0.0, names=NAMES):
    with tarfile.open(path, "w", format=format_) as tar:
        for number, name in enumerate(names):
            data = b"" if name == "empty.txt" else bytes([number]) * (300 * number + 1)
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), mtime
            tar.addfile(info, io.BytesIO(data))
            folder = tarfile.TarInfo(f"d{number}")
            folder.type = tarfile.DIRTYPE
            tar.addfile(folder)
            link = tarfile.TarInfo(f"link{number}")
            link.type, link.linkname, link.size = tarfile.LNKTYPE, "a.jpg", 700
            tar.addfile(link)
    return path


def as_tarfile_sees_it(path):
    with tarfile.open(path) as tar:
        return [(member.name, member.offset_data, member.size) for member in tar if member.type in (tarfile.REGTYPE, tarfile.AREGTYPE)]


@pytest.mark.parametrize("mtime", [0, 1700000000.25], ids=["whole", "webdataset"])
@pytest.mark.parametrize("format_", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT], ids=["ustar", "gnu", "pax"])
def test_every_format(tmp_path, format_, mtime):
    names = NAMES if format_ != tarfile.USTAR_FORMAT else [name for name in NAMES if len(name) < 200]
    path = write(tmp_path / "x.tar", format_, mtime if format_ == tarfile.PAX_FORMAT else int(mtime), names)
    assert list(tar_members(path)) == as_tarfile_sees_it(path)
    assert [name for name, _, _ in tar_members(path)] == names


@pytest.mark.skipif(not shutil.which("tar"), reason="no tar program")
def test_what_the_tar_program_writes(tmp_path):
    for name in ("b" * 120 + ".jpg", "c.txt"):
        (tmp_path / name).write_bytes(os.urandom(1500))
    subprocess.run(["tar", "-cf", "x.tar", "b" * 120 + ".jpg", "c.txt"], cwd=tmp_path, check=True)
    path = tmp_path / "x.tar"
    assert list(tar_members(path)) == as_tarfile_sees_it(path) and len(list(tar_members(path))) == 2


def test_sizes_in_binary(tmp_path):
    path = write(tmp_path / "x.tar", tarfile.GNU_FORMAT, names=["a.jpg", "b.jpg"])
    data = bytearray(path.read_bytes())
    data[124:136] = b"\x80" + (1).to_bytes(11, "big")
    data[148:156] = b"%06o\0 " % (sum(data[:148]) + 256 + sum(data[156:512]))
    path.write_bytes(data)
    assert [(name, size) for name, _, size in tar_members(path)] == [("a.jpg", 1), ("b.jpg", 301)]


@pytest.mark.parametrize("size", [b"-0000001000\0", b"+0000001000\0", b"0000_001000\0"])
def test_a_size_that_is_no_octal_number(tmp_path, size):
    path = write(tmp_path / "x.tar", tarfile.GNU_FORMAT, names=["a.jpg", "b.jpg"])
    data = bytearray(path.read_bytes())
    data[124:136] = size
    data[148:156] = b"%06o\0 " % (sum(data[:148]) + 256 + sum(data[156:512]))
    path.write_bytes(data)
    assert found_and_said(path) == ([], "is not a tar file")


def found_and_said(path):
    found = []
    with pytest.raises(TarDamage) as error:
        for member in itertools.islice(tar_members(path), 1000):
            found.append(member)
    return found, str(error.value)


def test_cut_off_anywhere(tmp_path):
    path = write(tmp_path / "x.tar", mtime=0.5)
    data, whole = path.read_bytes(), as_tarfile_sees_it(path)
    end = whole[-1][1] + 3 * 512
    for length in range(100, end, 333):
        path.write_bytes(data[:length])
        found, said = found_and_said(path)
        assert found == [member for member in whole if member[1] + member[2] <= length and member[1] <= length] and "cut off" in said


@pytest.mark.parametrize(
    "content, said", [(b"", "is empty"), (b"<html>" * 200, "is not a tar file"), (b"\x1f\x8b" + b"\x01" * 900, "is not a tar file")]
)
def test_no_tar(tmp_path, content, said):
    (tmp_path / "x.tar").write_bytes(content)
    assert found_and_said(tmp_path / "x.tar") == ([], said)


def test_damage_in_the_middle(tmp_path):
    path = write(tmp_path / "x.tar", names=["a.jpg", "b.jpg", "c.jpg"])
    data, whole = bytearray(path.read_bytes()), as_tarfile_sees_it(path)
    data[whole[2][1] - 500] ^= 0xFF
    path.write_bytes(data)
    assert found_and_said(path) == (whole[:2], "is damaged")
