"""What becomes of the API's processes while they start."""

import signal
import subprocess
import sys

import pytest

_START = """
import signal
from service.run import serve

def told_to_end():
    signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGTERM)

for each in (signal.SIGINT, signal.SIGTERM):
    signal.signal(each, lambda *_: None)  # as inherited from the manager
serve.load_settings = told_to_end
serve.app()
"""


@pytest.mark.real_processes
def test_a_process_that_is_told_to_end_while_it_starts_ends():
    done = subprocess.run([sys.executable, "-c", _START], timeout=60, check=False)
    assert done.returncode == -signal.SIGTERM
