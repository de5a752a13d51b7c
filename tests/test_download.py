"""Downloads: whole or not at all, resumed at the byte they reached, checked, and every refusal a sentence that helps."""

import hashlib
import json

import pytest

from minigpt4_model.weights import download as downloads
from minigpt4_model.weights.download import RefusedError, Source, download
from minigpt4_model.weights.errors import WeightsError
from tests.official_server import serving

DATA = bytes(range(256)) * 8192  # 2 MB
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(downloads, "PAUSE_S", 0.0)
    monkeypatch.setattr(downloads, "_BLOCK", 64 << 10)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving() as running:
        running.files["/file.pth"] = DATA
        yield running


def source(server, **fields):
    return Source(**{"title": "the file", "url": server.address + "/file.pth", "sha256": SHA256, **fields})


def leftovers(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != downloads.NOTES)


def note(folder, name, **fields):
    (folder / downloads.NOTES).mkdir(exist_ok=True)
    (folder / downloads.NOTES / name).write_text(json.dumps(fields))


def test_a_file_comes_whole_and_is_not_fetched_again(server, tmp_path):
    said = []
    path = tmp_path / "deep" / "file.pth"
    assert download(source(server), path, lambda message, fraction: said.append(fraction)) == "sha256"
    assert path.read_bytes() == DATA and leftovers(path.parent) == ["file.pth"]
    assert said[-1] == 1.0
    assert download(source(server), path) == "sha256" and len(server.requests) == 1


def test_a_transfer_that_breaks_off_goes_on_at_the_byte_it_reached(server, tmp_path):
    server.breaks = [300_000, 500_000, 700_000]
    assert download(source(server), tmp_path / "file.pth") == "sha256"
    assert (tmp_path / "file.pth").read_bytes() == DATA
    asked = [headers.get("Range") for headers in server.sent("/file.pth")]
    assert asked == [None, "bytes=300000-", "bytes=800000-", "bytes=1500000-"]
    assert all(headers["If-Range"] for headers in server.sent("/file.pth")[1:])


def test_a_later_run_goes_on_where_an_earlier_one_gave_up(server, tmp_path, monkeypatch):
    server.breaks = [400_000]
    monkeypatch.setattr(downloads, "ATTEMPTS", 1)
    real = downloads._transfer

    def once_then_offline(source, path, progress):
        monkeypatch.setattr(downloads, "_transfer", offline)
        return real(source, path, progress)

    def offline(source, path, progress):
        raise downloads._Broken("no connection")

    monkeypatch.setattr(downloads, "_transfer", once_then_offline)
    with pytest.raises(WeightsError, match=r"no connection\. Check the network and start again to go on from the 0\.4 MB"):
        download(source(server), tmp_path / "file.pth")
    assert leftovers(tmp_path) == ["file.pth.partial"] and (tmp_path / "file.pth.partial").stat().st_size == 400_000
    monkeypatch.setattr(downloads, "_transfer", real)
    download(source(server), tmp_path / "file.pth")
    assert server.sent("/file.pth")[-1]["Range"] == "bytes=400000-"
    assert (tmp_path / "file.pth").read_bytes() == DATA and leftovers(tmp_path) == ["file.pth"]


def test_a_file_that_changed_on_its_server_is_begun_anew(server, tmp_path):
    (tmp_path / "file.pth.partial").write_bytes(b"old" * 1000)
    note(tmp_path, "file.pth.partial.json", url=server.address + "/file.pth", total=len(DATA), validator='"of-the-old-file"')
    download(source(server), tmp_path / "file.pth")
    assert server.sent("/file.pth")[0]["If-Range"] == '"of-the-old-file"'
    assert (tmp_path / "file.pth").read_bytes() == DATA


def test_what_was_kept_of_another_address_is_not_gone_on_with(server, tmp_path):
    (tmp_path / "file.pth.partial").write_bytes(b"other")
    note(tmp_path, "file.pth.partial.json", url="http://elsewhere/file.pth", total=9)
    download(source(server), tmp_path / "file.pth")
    assert "Range" not in server.sent("/file.pth")[0] and (tmp_path / "file.pth").read_bytes() == DATA


def test_a_server_without_ranges_is_read_from_the_start(server, tmp_path):
    server.ignores_range, server.breaks = True, [100_000]
    download(source(server), tmp_path / "file.pth")
    assert (tmp_path / "file.pth").read_bytes() == DATA


def test_a_whole_file_that_was_not_yet_checked_is_not_fetched_again(server, tmp_path):
    (tmp_path / "file.pth.partial").write_bytes(DATA)
    note(tmp_path, "file.pth.partial.json", url=server.address + "/file.pth", total=len(DATA), validator="")
    download(source(server), tmp_path / "file.pth")
    assert len(server.requests) == 1 and (tmp_path / "file.pth").read_bytes() == DATA


def test_a_wrong_hash_is_fetched_once_more_and_then_refused(server, tmp_path):
    server.files["/file.pth"] = DATA[:-1] + b"!"
    with pytest.raises(WeightsError, match=f"what came is not the file: its sha256 is [0-9a-f]+ instead of {SHA256}.*bring it by hand"):
        download(source(server), tmp_path / "file.pth")
    assert len(server.requests) == 2 and leftovers(tmp_path) == []


def test_a_file_brought_by_hand_is_taken_if_it_is_the_file(server, tmp_path):
    (tmp_path / "file.pth").write_bytes(DATA)
    assert download(source(server), tmp_path / "file.pth") == "sha256" and server.requests == []
    (tmp_path / "file.pth").write_bytes(b"another")
    assert download(source(server), tmp_path / "file.pth") == "sha256"
    assert (tmp_path / "file.pth").read_bytes() == DATA and len(server.requests) == 1


def test_git_s_hash_is_checked(server, tmp_path):
    git = hashlib.sha1(b"blob %d\0" % len(DATA) + DATA).hexdigest()
    assert "Git" in download(source(server, sha256=None, git_sha1=git), tmp_path / "file.pth")
    with pytest.raises(WeightsError, match="Git's hash"):
        download(source(server, sha256=None, git_sha1="0" * 40), tmp_path / "other.pth")


def test_without_a_known_hash_the_length_is_checked(server, tmp_path):
    assert "length" in download(source(server, sha256=None), tmp_path / "file.pth")
    assert (tmp_path / "file.pth").read_bytes() == DATA


def test_a_web_page_instead_of_the_file_is_refused(server, tmp_path):
    server.web_page = True
    with pytest.raises(WeightsError, match=r"gives a web page instead of the file.*put the file into .* as file.pth"):
        download(source(server, page="https://example.org/page"), tmp_path / "file.pth")
    assert leftovers(tmp_path) == []


def test_a_busy_server_is_asked_again_and_a_missing_file_is_not(server, tmp_path):
    server.statuses = [503, 429]
    download(source(server), tmp_path / "file.pth")
    assert len(server.requests) == 3
    with pytest.raises(WeightsError, match="answers 404"):
        download(source(server, url=server.address + "/none.pth"), tmp_path / "none.pth")
    assert len(server.requests) == 4


def test_no_connection_names_the_address_and_the_way_by_hand(server, tmp_path):
    with pytest.raises(
        WeightsError, match="no connection.*Check the network and start again. Or bring it by hand: open http://127.0.0.1:9/file.pth"
    ):
        download(source(server, url="http://127.0.0.1:9/file.pth"), tmp_path / "file.pth")


def test_a_refusal_tells_its_status(server, tmp_path):
    server.statuses, server.error_code = [403], "GatedRepo"
    with pytest.raises(RefusedError) as refused:
        download(source(server), tmp_path / "file.pth")
    assert (refused.value.status, refused.value.code) == (403, "GatedRepo")


def test_a_token_stays_with_the_host_it_is_for(server, tmp_path):
    with serving() as storage:
        storage.files["/stored"] = DATA
        server.redirects["/file.pth"] = storage.address + "/stored"
        download(source(server, token="secret"), tmp_path / "file.pth")
        assert server.requests[0][1]["Authorization"] == "Bearer secret"
        assert "Authorization" not in storage.requests[0][1]
    server.redirects = {"/start": server.address + "/file.pth"}
    download(source(server, url=server.address + "/start", token="secret"), tmp_path / "again.pth")
    assert server.requests[-1][1]["Authorization"] == "Bearer secret"


def test_a_full_disk_is_told_before_the_transfer(server, tmp_path, monkeypatch):
    usage = downloads.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(WeightsError, match=r"the file needs 0\.0 GB more in .* MINIGPT4_HOME"):
        download(source(server), tmp_path / "file.pth")
