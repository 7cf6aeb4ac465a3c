import pytest

from maquette.apps import cli, doctor
from maquette.apps.doctor import Finding


def test_this_machine_is_fit_to_run_the_tests():
    findings = list(doctor.examine())
    assert len(findings) == 8
    assert [finding.text for finding in findings if not finding.is_good] == []


def test_a_check_that_fails_in_itself_is_a_finding_and_the_rest_goes_on(monkeypatch, capsys):
    def broken() -> Finding:
        raise OSError("no such library")

    broken.__name__ = "_torch"
    monkeypatch.setattr(doctor, "_torch", broken)
    assert cli.run(["doctor"]) == 1
    said = capsys.readouterr()
    assert "BAD  torch: OSError: no such library" in said.out
    assert "ok   Python" in said.out
    assert "ok   ffmpeg" in said.out
    assert "of 8 checks failed" in said.err


def test_missing_weights_are_noticed(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "_PACKAGE", tmp_path)
    assert not doctor._weights().is_good


@pytest.mark.parametrize("variable", ["/proc/sys/kernels", None])
def test_a_place_for_compiled_kernels(variable, monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", variable or str(tmp_path))
    assert doctor._compiled_kernels().is_good == (variable is None)
