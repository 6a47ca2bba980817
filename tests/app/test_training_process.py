import os
import subprocess
import sys

import pytest


def test_a_process_ends_when_nobody_reads_its_reports():
    reader, writer = os.pipe()
    code = f"from eva.app.training_process import _end_with_reader; _end_with_reader({writer})"
    with subprocess.Popen([sys.executable, "-c", code], pass_fds=[writer]) as process:
        os.close(writer)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        os.close(reader)
        assert process.wait(60) == 1
