"""CloudFormation's own linter, with its rules read once: it goes without a network."""

import functools
from typing import Any

import cfnlint.api
import cfnlint.config
import cfnlint.runner

CONFIG = cfnlint.config.ManualArgs(regions=["eu-west-1"], include_checks=["I"])


@functools.cache
def _rules() -> Any:
    return cfnlint.runner.Runner(cfnlint.config.ConfigMixIn(**CONFIG)).rules


def linted(template: str) -> list[str]:
    """What cfn-lint says of a template: errors, warnings and hints."""
    found = cfnlint.api.lint(template, rules=_rules(), config=CONFIG)
    return [f"{each.rule.id} {each.message}" for each in found]
