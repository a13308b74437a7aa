"""Settings: each documented, all faults at once, secrets never shown."""

import stat
import tomllib

import pytest
from click.testing import CliRunner

from service.__main__ import main
from service.platform.settings import (
    Settings,
    SettingsError,
    explain_settings,
    load_settings,
    unknown_variables,
    with_secret_key,
)
from tests.processes import ROOT

KEY = "0123456789abcdef0123456789abcdef"
ISSUERS = (
    '[{"issuer": "https://id.example", "audience": "saxaul",'
    ' "jwks_url": "https://id.example/keys", "realm": "participant"}]'
)


def test_every_setting_is_explained():
    explained = {setting.variable: setting for setting in explain_settings({})}
    assert set(explained) == {f"SAXAUL_{field.upper()}" for field in Settings.__struct_fields__}
    for setting in explained.values():
        assert len(setting.meaning.split()) >= 3, setting.variable
        assert setting.meaning.endswith("."), setting.variable


def test_config_show_prints_variables_values_defaults_and_meanings():
    environment = {"SAXAUL_PORT": "8080", "SAXAUL_PROT": "1", "SAXAUL_SECRET_KEY": KEY}
    shown = CliRunner().invoke(main, ["config", "show"], env=environment)
    assert shown.exit_code == 0
    assert "SAXAUL_PORT = 8080\n    default: 8000\n    TCP port" in shown.stdout
    assert "SAXAUL_SECRET_KEY = ***\n" in shown.stdout
    assert "SAXAUL_PROT is set and means nothing here; did you mean SAXAUL_PORT?" in shown.stderr
    assert KEY not in shown.output


def test_all_faults_are_told_at_once_with_their_variables():
    wrong = {"SAXAUL_PORT": "x", "SAXAUL_LANES": "0", "SAXAUL_ENV": "prod", "SAXAUL_HOME": "/h"}
    with pytest.raises(SettingsError) as refused:
        load_settings(wrong)
    assert [problem.partition(":")[0] for problem in refused.value.problems] == [
        "SAXAUL_ENV",
        "SAXAUL_PORT",
        "SAXAUL_LANES",
    ]


def test_a_command_with_wrong_settings_says_so_in_plain_lines():
    shown = CliRunner().invoke(main, ["config", "show"], env={"SAXAUL_PORT": "eighty"})
    assert shown.exit_code == 1
    fault = "must be a whole number from 1 to 65535, not 'eighty'"
    assert shown.stderr == f"SAXAUL_PORT: {fault}\n"
    # All settings are shown all the same, the faulty one with its fault.
    assert f"SAXAUL_PORT = eighty\n    FAULT: {fault}\n" in shown.stdout
    assert shown.stdout.count("    default: ") == len(Settings.__struct_fields__)


@pytest.mark.parametrize(
    ("variable", "text", "allowed"),
    [
        ("ENV", "prod", "development or production"),
        ("LOG_LEVEL", "loud", "debug, info, warning or error"),
        ("ACCESS_LOG", "yes", "true or false"),
        ("WORKERS", "0", "a whole number from 1 to 64"),
        ("RATE_PARTNER_PER_S", "-1", "a whole number of at least 1"),
        ("REDIS_PREFIX", "x" * 65, "a text of 1 to 64 characters"),
    ],
)
def test_a_fault_says_what_is_allowed(variable, text, allowed):
    with pytest.raises(SettingsError) as refused:
        load_settings({f"SAXAUL_{variable}": text})
    assert str(refused.value) == f"SAXAUL_{variable}: must be {allowed}, not {text!r}"


@pytest.mark.parametrize(
    ("variable", "url"),
    [
        ("DATABASE_URL", "mysql://u:hunter2@db/x"),
        ("DATABASE_URL", "postgresql://u:hunter2@db:port/x"),
        ("DATABASE_URL", "postgresql://u:hunter2/hunter@db/x"),
        ("REDIS_URL", "http://u:hunter2@cache"),
        ("REDIS_URL", "redis://u:hunter2@cache:99999"),
        ("SECRET_KEY", "hunter2"),
    ],
)
def test_a_faulty_address_is_told_without_its_password(variable, url):
    shown = CliRunner().invoke(main, ["config", "show"], env={f"SAXAUL_{variable}": url})
    assert shown.exit_code == 1
    assert shown.stderr.startswith(f"SAXAUL_{variable}: ")
    assert "hunter" not in shown.output


def test_a_folder_may_be_named_from_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = load_settings({"SAXAUL_HOME": "~/state", "SAXAUL_RULES_DIR": "~/rules"})
    assert (settings.home, settings.rules_dir) == (tmp_path / "state", tmp_path / "rules")
    with pytest.raises(SettingsError, match="SAXAUL_HOME"):
        load_settings({"SAXAUL_HOME": "~nobody-of-this-name/state"})


def test_the_version_is_that_of_the_package():
    shown = CliRunner().invoke(main, ["--version"])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert shown.output == f"saxaul, version {project['version']}\n"


def test_production_asks_for_servers_a_key_and_issuers():
    with pytest.raises(SettingsError) as refused:
        load_settings({"SAXAUL_ENV": "production"})
    assert [problem.partition(":")[0] for problem in refused.value.problems] == [
        "SAXAUL_PUBLIC_URL",
        "SAXAUL_DATABASE_URL",
        "SAXAUL_REDIS_URL",
        "SAXAUL_SECRET_KEY",
        "SAXAUL_MASTER_KEY",
        "SAXAUL_AUTH_ISSUERS",
    ]


def test_production_with_all_of_them_offers_nothing_of_development():
    settings = load_settings(
        {
            "SAXAUL_ENV": "production",
            "SAXAUL_PUBLIC_URL": "https://saxaul.example",
            "SAXAUL_DATABASE_URL": "postgresql://db/saxaul",
            "SAXAUL_REDIS_URL": "redis://cache",
            "SAXAUL_SECRET_KEY": KEY,
            "SAXAUL_MASTER_KEY": "A" * 43 + "=",
            "SAXAUL_AUTH_ISSUERS": ISSUERS,
        }
    )
    assert not settings.development_mode
    assert settings.rate_limits_on
    assert settings.auth_issuers[0].accept_typ == ("at+jwt",)


@pytest.mark.parametrize(
    "url", ["saxaul.example", "ftp://saxaul.example", "https://", "https://a/?b=c", "https://a:b:c"]
)
def test_a_public_address_is_one_that_links_can_begin_with(url):
    with pytest.raises(SettingsError, match="SAXAUL_PUBLIC_URL"):
        load_settings({"SAXAUL_PUBLIC_URL": url})


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.org"])
def test_off_loopback_there_is_no_development_mode(host):
    assert not load_settings({"SAXAUL_HOST": host}).development_mode


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_on_loopback_there_is_development_mode(host):
    assert load_settings({"SAXAUL_HOST": host}).development_mode


def test_a_secret_may_come_from_a_file(tmp_path):
    path = tmp_path / "key"
    path.write_text(f"{KEY}\n")
    assert load_settings({"SAXAUL_SECRET_KEY_FILE": str(path)}).secret_key == KEY
    with pytest.raises(SettingsError, match="SAXAUL_SECRET_KEY_FILE is set"):
        load_settings({"SAXAUL_SECRET_KEY_FILE": str(path), "SAXAUL_SECRET_KEY": KEY})
    with pytest.raises(SettingsError, match="No such file"):
        load_settings({"SAXAUL_SECRET_KEY_FILE": str(tmp_path / "none")})
    assert list(unknown_variables({"SAXAUL_SECRET_KEY_FILE": "x", "SAXAUL_PORT_FILE": "x"})) == [
        "SAXAUL_PORT_FILE"
    ]


def test_the_password_of_an_address_is_masked():
    environment = {"SAXAUL_DATABASE_URL": "postgresql://u:pass@db:5432/x?password=pass"}
    shown = {setting.variable: setting.value for setting in explain_settings(environment)}
    assert shown["SAXAUL_DATABASE_URL"] == "postgresql://u:***@db:5432/x"


def test_development_makes_its_key_once_and_keeps_it_to_itself(tmp_path):
    settings = Settings(home=tmp_path / "home")
    first = with_secret_key(settings)
    assert len(first.secret_key) >= 32
    assert with_secret_key(settings).secret_key == first.secret_key
    assert stat.S_IMODE((tmp_path / "home" / "secret-key").stat().st_mode) == 0o600


def test_a_key_that_cannot_be_kept_names_the_setting(tmp_path):
    (tmp_path / "home").touch()
    with pytest.raises(SettingsError, match="SAXAUL_HOME"):
        with_secret_key(Settings(home=tmp_path / "home"))
