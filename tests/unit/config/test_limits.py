"""``[apps.NAME.limits]``: what is not promised is said."""

import pytest
from tests.unit.config.test_load import LISTENER, resolved

from cloister.model.errors import ConfigError

APP = LISTENER + '[apps.a]\ncommand = ["/bin/a"]\nhosts = ["a"]\n'


@pytest.mark.parametrize("name", ["disk", "disk-max", "storage"])
def test_a_limit_on_disks_is_refused_with_what_there_is_instead(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolved(f'{APP}limits = {{ {name} = "1G" }}\n')
    (problem,) = caught.value.problems
    assert problem.code == "unsupported"
    assert problem.what == "there is no limit on what an application may have on a disk"
    assert "quotas" in (problem.why or "")
    assert "isolation.tmpfs" in (problem.hint or "")
