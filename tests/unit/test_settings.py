"""The settings' sources, their order, and every mistake as one sentence."""

import math
from pathlib import Path

import pytest

from aerofs.errors import ConfigError
from aerofs.settings import Settings, duration, load, size

HERE = {"url": "https://aero.example", "environment": "e1", "mountpoint": "/mnt/aero", "token": "hush"}


@pytest.fixture(autouse=True)
def homeless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, folder in (("XDG_CONFIG_HOME", "config"), ("XDG_STATE_HOME", "state"), ("HOME", "home")):
        monkeypatch.setenv(name, str(tmp_path / folder))


def loaded(
    options: dict[str, object] | None = None,
    environ: dict[str, str] | None = None,
    *,
    toml: str | None = None,
    profile: str | None = None,
    tmp_path: Path | None = None,
) -> Settings:
    config = None
    if toml is not None and tmp_path is not None:
        config = tmp_path / "given.toml"
        config.write_text(toml)
        config.chmod(0o600)
    return load(HERE | (options or {}), environ=environ or {}, config=config, profile=profile)


def test_defaults_stand_where_nobody_chose() -> None:
    settings = loaded()
    assert (settings.close_wait, settings.umask, settings.read_only) == (60.0, 0o022, False)
    assert settings.mountpoint == Path("/mnt/aero")


def test_options_beat_the_environment_which_beats_the_profile_which_beats_the_defaults(
    tmp_path: Path,
) -> None:
    toml = "[profile.default]\nclose-wait = '1m'\nlisting-ttl = 1\ndocument_ttl = 1"
    settings = loaded(
        {"close_wait": "3"},
        {"AEROFS_CLOSE_WAIT": "2", "AEROFS_LISTING_TTL": "2"},
        toml=toml,
        tmp_path=tmp_path,
    )
    assert (settings.close_wait, settings.listing_ttl, settings.document_ttl) == (3.0, 2.0, 1.0)
    assert settings.definition_ttl == 300.0


def test_an_option_that_was_not_given_hides_nothing() -> None:
    assert loaded({"close_wait": None}, {"AEROFS_CLOSE_WAIT": "inf"}).close_wait == math.inf


def test_a_named_profile_is_taken_from_the_usual_file(tmp_path: Path) -> None:
    folder = tmp_path / "config" / "aerofs"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(
        "[profile.work]\nread-only = true\n[profile.default]\nallow-other = true"
    )
    assert loaded(profile="work").read_only
    assert loaded({}, {"AEROFS_PROFILE": "work"}).read_only
    assert loaded().allow_other
    assert not loaded().read_only


def test_a_profile_may_hold_tables_and_paths_beside_it(tmp_path: Path) -> None:
    toml = "[profile.x]\nstate-dir = 'state'\n[profile.x.definitions]\ninvoice = ['picture', 'lines.*.photo']"
    settings = loaded(toml=toml, profile="x", tmp_path=tmp_path)
    assert settings.state_dir == tmp_path / "state"
    assert settings.definitions == {"invoice": ("picture", "lines.*.photo")}


def test_relative_paths_of_options_start_at_the_working_directory_and_home_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = loaded({"mountpoint": "here", "log_file": "~/log"})
    assert settings.mountpoint == tmp_path / "here"
    assert settings.log_file == tmp_path / "home" / "log"


def test_the_mount_point_is_known_by_its_true_path(tmp_path: Path) -> None:
    (tmp_path / "true").mkdir()
    (tmp_path / "link").symlink_to("true")
    assert loaded({"mountpoint": tmp_path / "link"}).mountpoint == tmp_path / "true"


def test_the_environment_may_hold_json_for_tables() -> None:
    settings = loaded(
        {}, {"AEROFS_DEFINITIONS": '{"invoice": ["picture"]}', "AEROFS_DIALECT": '{"part": "file"}'}
    )
    assert settings.definitions == {"invoice": ("picture",)}
    assert settings.dialect == {"part": "file"}


def test_a_source_of_the_token_replaces_those_of_the_layers_below(tmp_path: Path) -> None:
    options: dict[str, object] = {"token": None}
    settings = loaded(
        options, {"AEROFS_TOKEN": "new"}, toml="[profile.default]\ntoken_file = '/old'", tmp_path=tmp_path
    )
    assert settings.token is not None
    assert settings.token.get_secret_value() == "new"
    assert settings.token_file is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30", 30), ("30s", 30), ("5m", 300), ("1.5h", 5400), ("2d", 172800), ("250ms", 0.25), (" 5 M ", 300)],
)
def test_a_duration_is_a_number_with_a_unit(text: str, seconds: float) -> None:
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "m", "5 parsecs", "nan", "1:30"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        duration(text)


@pytest.mark.parametrize(("given", "mask"), [("022", 0o022), ("77", 0o077), (0o027, 0o027)])
def test_a_umask_is_octal(given: object, mask: int) -> None:
    assert loaded({"umask": given}).umask == mask


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"url": None}, r"url is not set: give it as an argument, as AEROFS_URL or in a profile"),
        ({"url": "ftp://aero.example"}, r"url \(from the options\): 'ftp://aero.example' is not an http"),
        ({"url": "https://"}, r"is not an http or https URL"),
        ({"url": "https://x:99999"}, r"url \(from the options\): is not a URL"),
        ({"url": "https://aero.example?a=1"}, r"query or fragment"),
        ({"url": "http://aero.example"}, r"url \(from the options\): plain http would show the token"),
        ({"environment": ""}, r"environment \(from the options\): is empty"),
        ({"mountpoint": ""}, r"mountpoint \(from the options\): is empty"),
        ({"mountpoint": "/mnt/\udcff"}, r"mountpoint \(from the options\): .* is not UTF-8"),
        ({"url": "https://aero..example"}, r"url \(from the options\): is not a URL"),
        ({"url": f"https://{'a' * 64}.example"}, r"url \(from the options\): is not a URL"),
        ({"spool_limit": "12Q"}, r"spool_limit \(from the options\): '12Q' is not a size"),
        ({"token": None}, r"token is not set: give AEROFS_TOKEN, token_file or token_command"),
        ({"token_file": "/t"}, r"token_file \(from the options\): is given together with token"),
        ({"close_wait": "soon"}, r"close_wait \(from the options\): 'soon' is not a duration"),
        ({"close_wait": "-1"}, r"close_wait .*greater than or equal to 0"),
        ({"close_wait": True}, r"close_wait .*valid number"),
        ({"stall_deadline": "inf"}, r"stall_deadline .*finite"),
        ({"stall_deadline": "0"}, r"stall_deadline .*greater than 0"),
        ({"listing_ttl": "inf"}, r"listing_ttl .*finite"),
        ({"umask": "9"}, r"umask .*'9' is not an octal number"),
        ({"umask": "7777"}, r"umask .*'7777' is not an octal number"),
        ({"uid": "-1"}, r"uid .*greater than or equal to 0"),
        ({"metadata_lane": "0"}, r"metadata_lane .*greater than or equal to 1"),
        ({"documents_by": "name"}, r"documents_by .*'external-id' or 'id'"),
        ({"colour": "red"}, r"colour \(from the options\): there is no such setting"),
        ({"log_file": "/mnt/aero/log"}, r"log_file .*/mnt/aero/log lies below the mount point /mnt/aero"),
        ({"state_dir": "/mnt/aero"}, r"state_dir .*lies below the mount point"),
        ({"ca_file": "/mnt/aero/../aero/ca"}, r"ca_file .*lies below the mount point"),
    ],
)
def test_a_mistake_is_told_with_setting_source_and_reason(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught:
        loaded(options)
    assert "\n" not in str(caught.value)
    assert "hush" not in str(caught.value)


def test_the_environment_is_named_as_the_source_of_its_mistake() -> None:
    with pytest.raises(ConfigError, match=r"umask \(from the environment\)"):
        loaded({}, {"AEROFS_UMASK": "x"})
    with pytest.raises(ConfigError, match="AEROFS_DIALECT is not JSON"):
        loaded({}, {"AEROFS_DIALECT": "{"})


def test_several_mistakes_are_told_at_once() -> None:
    with pytest.raises(ConfigError, match=r"umask .*; close_wait "):
        loaded({"umask": "x", "close_wait": "y"})


def test_a_password_in_the_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError, match="carries a user name or password") as caught:
        loaded({"url": "https://me:secret@aero.example"})
    assert "secret" not in str(caught.value)


def test_a_token_is_never_shown() -> None:
    assert "hush" not in repr(loaded())
    with pytest.raises(ConfigError) as caught:
        loaded({"token": ["hush"]})
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1:8000", "[::1]:8000", "127.8.9.1"])
def test_plain_http_is_fine_on_loopback(host: str) -> None:
    assert loaded({"url": f"http://{host}/"}).url == f"http://{host}"


def test_plain_http_elsewhere_takes_a_decision() -> None:
    assert loaded({"url": "http://aero.example", "insecure_http": True}).insecure_http


def test_a_mount_over_the_default_state_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"mountpoint .*where saves wait"):
        loaded({"mountpoint": tmp_path / "state"})


def test_a_configuration_below_the_mount_point_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"given\.toml lies below the mount point"):
        loaded({"mountpoint": tmp_path, "state_dir": "/elsewhere"}, toml="", tmp_path=tmp_path)


@pytest.mark.parametrize(
    ("toml", "profile", "sentence"),
    [
        ("[profile.work]\n", "play", r"no profile 'play' in .*\(profiles there: work\)"),
        ("", "play", r"\(profiles there: none\)"),
        ("url = 'x'", None, r"has 'url' where only \[profile.NAME\] tables belong"),
        ("profile = 3", None, r"has 'profile' where only"),
        ("[profile.default", None, r"given\.toml cannot be read: Expected"),
        ("[profile.default]\numask = 'x'", None, r"umask \(from .*given\.toml\)"),
    ],
)
def test_a_mistake_in_the_file_is_told(tmp_path: Path, toml: str, profile: str | None, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        loaded(toml=toml, profile=profile, tmp_path=tmp_path)


def test_a_named_file_must_exist_and_the_usual_one_need_not(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml does not exist"):
        load(HERE, environ={}, config=tmp_path / "none.toml")
    with pytest.raises(ConfigError, match=r"none\.toml does not exist"):
        load(HERE, environ={"AEROFS_CONFIG": str(tmp_path / "none.toml")})
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(HERE, environ={}, config=tmp_path)
    with pytest.raises(ConfigError, match="no profile 'play'"):
        load(HERE, environ={}, profile="play")


def test_a_token_in_a_file_that_others_read_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text("[profile.default]\ntoken = 'hush'")
    config.chmod(0o640)
    with pytest.raises(ConfigError, match=r"may be read by others: chmod 600") as caught:
        load(HERE, environ={}, config=config)
    assert "hush" not in str(caught.value)
    config.chmod(0o600)
    assert load(HERE | {"token": None}, environ={}, config=config).token is not None


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("500000", 500_000),
        (" 20 MB ", 20_000_000),
        ("1.5g", 1_500_000_000),
        ("2GiB", 2 << 30),
        ("3k", 3000),
        ("1 tib", 1 << 40),
        ("7b", 7),
    ],
)
def test_a_size_is_a_number_with_a_unit(text: str, count: int) -> None:
    assert size(text) == count


@pytest.mark.parametrize("text", ["", "much", "5 apples", "M", "1e999", "inf", "nan", "1,5G"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a size"):
        size(text)


def test_a_limit_of_the_spool_is_a_size_and_none_takes_a_profiles_away() -> None:
    assert loaded({"spool_limit": "20M"}).spool_limit == 20_000_000
    assert loaded(environ={"AEROFS_SPOOL_LIMIT": "1GiB"}).spool_limit == 1 << 30
    assert loaded({"spool_limit": "none"}, {"AEROFS_SPOOL_LIMIT": "1G"}).spool_limit is None
    assert loaded().spool_limit is None
    for wrong in ("0", "-5", "lots", True):
        with pytest.raises(ConfigError, match="spool_limit"):
            loaded({"spool_limit": wrong})
