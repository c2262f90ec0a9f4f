"""A company's CA bundle in steps: seen where programs look, in no layer and no key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lamella.engines.local.runner import LocalRunner
from lamella.engines.local.values import RunnerSettings
from lamella.errors import ConfigError
from tests.integration.engine.conftest import ENV
from tests.integration.engine.steps import Steps, py, sh

EXTRA = "-----BEGIN CERTIFICATE-----\nbGFtZWxsYSBjb21wYW55IGNlcnRpZmljYXRl\n-----END CERTIFICATE-----\n"
PLACE = "/etc/ssl/certs/ca-certificates.crt"


@pytest.fixture
def company(steps: Steps, tmp_path: Path) -> Iterator[Steps]:
    """Steps with a bundle of one more certificate."""
    bundle = tmp_path / "company.pem"
    bundle.write_text(EXTRA, encoding="utf-8")
    runner = LocalRunner(steps.store, RunnerSettings(env=ENV, ca_bundle=bundle))
    yield Steps(steps.store, runner, steps.base)
    runner.close()


def test_it_is_added_to_what_the_root_trusts_and_named_by_variables(company: Steps) -> None:
    script = (
        f'grep -c BEGIN "$SSL_CERT_FILE" {PLACE}; grep -l bGFtZWxsYSBj $NODE_EXTRA_CA_CERTS {PLACE}; env | grep CERT'
    )
    ran = company.run(company.spec(sh(script, network=True)))
    assert int(ran.lines[0].rpartition(":")[2]) > 100
    assert PLACE in ran.lines
    assert ran.paths == []


def test_commands_without_the_network_know_nothing_of_it(company: Steps) -> None:
    assert company.run(company.spec("env | grep -c -i -E 'cert|cainfo|bundle' || true")).lines == ["0"]


def test_a_recursive_chmod_does_not_bring_it_into_the_layer(company: Steps) -> None:
    ran = company.run(company.spec(sh("chmod -R g+w /etc/ssl; touch /etc/ssl/own", network=True)))
    assert "etc/ssl/own" in ran.paths
    assert PLACE[1:] not in ran.paths


def test_a_bundle_that_the_step_makes_itself_is_kept(company: Steps) -> None:
    without_one = "sed -i '0,/^mozilla/s/^mozilla/!mozilla/' /etc/ca-certificates.conf"
    ran = company.run(company.spec(sh(f"{without_one} && update-ca-certificates --fresh >/dev/null", network=True)))
    snapshot = company.store.snapshots.find(ran.outcome.snapshot)
    assert snapshot is not None
    assert PLACE[1:] in ran.paths
    assert b"bGFtZWxsYSBj" not in (snapshot.path / PLACE[1:]).read_bytes()


def test_it_is_seen_by_programs_of_the_root(company: Steps) -> None:
    script = (
        "import ssl; print(ssl.get_default_verify_paths().openssl_cafile_env, ssl.get_default_verify_paths().cafile)"
    )
    ran = company.run(company.spec(py(script, network=True)))
    assert ran.lines == ["SSL_CERT_FILE /run/lamella/ca-bundle.pem"]


def test_a_bundle_that_is_none_is_refused(steps: Steps, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing", encoding="utf-8")
    for path, reason in ((tmp_path / "empty.pem", "no certificate"), (tmp_path / "gone.pem", "cannot be read")):
        runner = LocalRunner(steps.store, RunnerSettings(env=ENV, ca_bundle=path))
        own = Steps(steps.store, runner, steps.base)
        with pytest.raises(ConfigError, match=reason):
            own.run(own.spec("true"))
        runner.close()
