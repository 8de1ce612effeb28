import math
from pathlib import Path

import pytest

from instruct_embeddings._extras import require
from instruct_embeddings.errors import MissingExtraError


def test_what_is_installed_is_imported() -> None:
    assert require("math", extra="any") is math
    assert require("os.path", extra="any").join("a", "b") == str(Path("a", "b"))


@pytest.mark.parametrize("name", ["no_such_module", "no_such_package.inner", "math.no_such_part"])
def test_what_is_missing_names_the_extra(name: str) -> None:
    with pytest.raises(
        MissingExtraError, match=r'pip install "instruct-embeddings\[chroma\]"'
    ) as e:
        require(name, extra="chroma")
    assert isinstance(e.value, ImportError)


def test_what_comes_with_the_package_names_no_extra() -> None:
    with pytest.raises(MissingExtraError, match=r'pip install "instruct-embeddings"$'):
        require("no_such_module")


def test_a_missing_dependency_of_what_is_installed_is_named_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half_installed.py").write_text("import no_such_dependency\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency") as caught:
        require("half_installed", extra="chroma")
    assert not isinstance(caught.value, MissingExtraError)
