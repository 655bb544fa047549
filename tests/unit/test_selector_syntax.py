"""Label selectors that the option namespace-selector takes; tests/sandbox asks an API server."""

from __future__ import annotations

import pytest

import selector_syntax

GOOD = [
    *("team", "!team", "! team", "team=", "team==", "team!=", "team=vision", "team==vision"),
    *("team!=old", " team = vision , env != old ", "team=vision,env!=old", "a,b,!c,d=e"),
    *("a in (b)", "a in(b)", "a  in ( b , c )", "a notin (b,c)", "a notin(b)", "a in (b),c"),
    *("a in (,)", "a in (,b)", "a in (b,)", "a in (b,,c)", "a in (,,b)", "a in (,,,)"),
    *("a in ()", "a notin ()", "a in (,,)", "a in (b,,)", "a in (b),!a", "a notin ( )"),
    *("in", "notin", "in in (in)", "in=notin", "notin notin (notin,in)", "!in", "in,notin"),
    *("a>1", "a<2", "a > 1 , a < 5", "a>0", "a>007", "a<9223372036854775807"),
    *("example.com/team=vision", "a-b.c/d_e.F=G-1", "kubernetes.io/metadata.name!=kube-system"),
    *("a,a", "a=b,a!=b", "a\t=\nb", "a=b,\n!c", "A=B", "1=2", "a" * 63, "a=" + "b" * 63),
    f"{'.'.join(['a' * 63] * 3)}/b",
    *("app.kubernetes.io/part-of=kubeflow-profile", "a in (1,2,3)", "a=in", "x\r,y"),
]
BAD = [
    *(",", "!", "=", "==", "(", ")", "()", "a,", ",a", "a,,b", "a, ,b", "!!a", "!", "a!", "! !a"),
    *("=a", "==a", "!=a", "a b", "a=b c", "a=b=c", "a===b", "a==b==c", "a=!b", "a!b", "!a=b"),
    *("!a!=b", "!a in (b)", "a=b||c=d", "a&&b", "a=b;c=d", "a in", "a in b", "a in (", "a in )"),
    *("a in (b", "a in b)", "a in (b))", "a in ((b))", "a in (b c)"),
    *("a in (b=c)", "a in (b),", "a in (!b)", "a in (b) c", "xin(a)"),
    *("a in (b,c", "a notin", "a not in (b)", "a in (b)(c)", "a in (b,(c))", "in (a)"),
    *("a>", "a>b", "a<1.5", "a>-1", "a>+1", "a>=1", "a<=1", "a<>1", "a>1 2", "a>>1"),
    "a<9223372036854775808",
    *("/a", "a/", "a/b/c", "A.com/a", "-a", "a-", "_a", "a_", ".a", "a..b/c", "a b/c", "ä", "a=ä"),
    *("a=-b", "a=b-", "a=b/c", "a=b:c", "a=*", "*", "a=b*", '"a"', "a='b'", "a" * 64),
    *("a=" + "b" * 64, f"{'a' * 254}/b", "a=\u00a0b", "a\u2003=b", "a in (b\u00a0,c)", "${a}"),
    *("a=b\x00c", "a\x0bb", "$(id)", "a=b\nc", "a?", "a#b", "a%3Db", "a&limit=1"),
]


@pytest.mark.parametrize("text", GOOD)
def test_a_selector_of_kubernetes_is_taken_as_it_is(text: str) -> None:
    assert selector_syntax.read(text) == text.strip()


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_selector_is_refused_in_a_short_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=": ") as raised:
        selector_syntax.read(text)

    assert len(f"namespace-selector {raised.value} (juju config)") <= 120


@pytest.mark.parametrize("text", ["", " ", "\t\n"])
def test_blank_selects_nothing_and_not_everything(text: str) -> None:
    assert selector_syntax.read(text) == ""


def test_a_selector_that_fits_into_no_url_is_refused():
    with pytest.raises(ValueError, match="longer than 2000"):
        selector_syntax.read("a," * 1000 + "a")
