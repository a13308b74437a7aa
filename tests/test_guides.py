"""What the guides show is typed as it stands: the ready partner, a partner to open, completion."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.processes import Instance
from tests.test_readme import README, ROOT

_PARTNERS = (ROOT / "docs" / "partners.md").read_text(encoding="utf-8")
_OPERATORS = (ROOT / "docs" / "operators.md").read_text(encoding="utf-8")


def block(text, language, holding):
    """The code block of this language that holds these words."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (found,) = [each for each in blocks if holding in each]
    return found


def bash(text, **environment):
    """What bash prints, typed in the folder of the project."""
    done = subprocess.run(
        # Python's own time limit sleeps, which faketime breaks.
        ["timeout", "60", "bash", "--norc", "-eu"],
        input=text,
        env={"PATH": os.environ["PATH"], **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.real_processes
def test_the_guides_run_with_the_partner_that_is_ready(embedded_home):
    instance = Instance(embedded_home)
    try:
        instance.start()
        named = block(_PARTNERS, "bash", "export URL").replace("127.0.0.1:8000", instance.url[7:])
        typed = named.replace(".saxaul/", f"{embedded_home}/")
        sending = block(_PARTNERS, "bash", "ride-curl-")
        answer = json.loads(bash(typed + sending))
        assert answer["accepted"] == 1, answer
        shown = json.loads(block(_PARTNERS, "json", 'ride-curl-1796028105","status'))
        (result,), (told,) = answer["results"], shown["results"]
        assert {**told, "id": "", "action_id": ""} == {**result, "id": "", "action_id": ""}
        again = json.loads(bash(typed + sending.replace("ride-curl-", "again-curl-")))
        assert again["results"][0]["problem"]["reason"] == "overlap"
        assert open_as_the_guide_shows(instance) == 201
    finally:
        instance.end()


def open_as_the_guide_shows(instance):
    """The status of opening a partner by the operators' guide's body."""
    with httpx.Client(base_url=instance.url, timeout=30, trust_env=False) as client:
        order = {"subject": "olive", "role": "operator"}
        token = client.post("/v1/dev/token", json=order).json()["access_token"]
        return client.post(
            "/v1/operator/partners",
            content=block(_OPERATORS, "json", "source_prefix"),
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        ).status_code


@pytest.fixture
def completing():
    """The README's lines for bash, as they work where the tests' program is installed."""
    lines = block(README.read_text(encoding="utf-8"), "bash", "_SAXAUL_COMPLETE")
    return lines.replace("$PWD/.venv/bin", str(Path(sys.executable).parent))


@pytest.mark.parametrize("program", ["saxaul", f"{Path(sys.executable).parent}/saxaul"])
def test_bash_completes_as_the_readme_shows(completing, program):
    asked = f"""
complete -p saxaul
COMP_WORDS=({program} partner se) COMP_CWORD=2
_saxaul_completion {program}
echo "${{COMPREPLY[@]}}"
"""
    told = bash(completing + asked).splitlines()
    assert told == ["complete -o nosort -F _saxaul_completion saxaul", "send"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_a_script_and_their_words(shell):
    readme = README.read_text(encoding="utf-8")
    assert f"`{shell}_source`" in readme
    program = str(Path(sys.executable).parent / "saxaul")
    environment = {"PATH": os.environ["PATH"], "COMP_WORDS": "saxaul re", "COMP_CWORD": "1"}

    def told(step, **more):
        sent = environment | more | {"_SAXAUL_COMPLETE": f"{shell}_{step}"}
        return subprocess.run(
            [program], env=sent, capture_output=True, text=True, check=True
        ).stdout

    assert "saxaul" in told("source")
    words = told("complete", **({"COMP_CWORD": "re"} if shell == "fish" else {}))
    assert {"replay", "reset"} <= set(re.findall(r"\w+", words))
    if shutil.which(shell):
        done = subprocess.run(
            [shell, "-n"], input=told("source"), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
