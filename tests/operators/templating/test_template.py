"""Templates mean what they mean to Go: its own library is asked about each."""

from random import Random

import pytest

from operators.templating import Map, Object, Template, TemplateError
from operators.templating.formatting import sprintf
from tests.backends import in_ci
from tests.backends.go_template import build
from tests.backends.process import UnavailableError

DATA = {
    "name": "api",
    "empty": "",
    "n": 42,
    "f": 0.25,
    "big": 1e21,
    "list": [3, 1, 2],
    "words": ["a", "b"],
    "none": None,
    "yes": True,
    "nested": {"inner": {"deep": "x"}},
    "strings": {"job": "web", "instance": "host:9090"},
    "rows": [{"k": "one", "v": 1}, {"k": "two", "v": 2.5}],
}
TEMPLATES = [
    "plain text",
    "",
    "{{.name}} {{ .n }} {{.f}} {{.big}} {{.yes}} {{.list}} {{.nested}} {{.strings}}",
    "{{.missing}}|{{.strings.missing}}|{{.none}}",
    "a {{- .name -}} b {{- /* comment */ -}} c {{/* x */}} d",
    " {{- 3 -}} |{{ -3 }}|{{3 -}} \n\t x",
    "{{if .empty}}a{{else if eq .n 42}}b{{else}}c{{end}}",
    "{{if and .name .empty}}a{{end}}{{if or .empty .name}}b{{end}}{{if not .empty}}c{{end}}",
    "{{with .nested.inner}}{{.deep}}{{end}}{{with .empty}}a{{else}}b{{end}}",
    "{{with .empty}}a{{else with .name}}{{.}}{{end}}",
    "{{range .list}}{{.}},{{end}}{{range $i, $e := .words}}{{$i}}={{$e}};{{end}}",
    "{{range $k, $v := .strings}}{{$k}}={{$v}};{{else}}none{{end}}",
    "{{range .missing}}x{{else}}none{{end}}{{range 3}}{{.}}{{end}}",
    "{{range .list}}{{if eq . 1}}{{continue}}{{end}}{{if eq . 2}}{{break}}{{end}}{{.}}{{end}}",
    "{{$x := 1}}{{range .list}}{{$x = .}}{{end}}{{$x}}",
    "{{$x := 1}}{{if true}}{{$x := 2}}{{$x}}{{end}}{{$x}}",
    "{{range .rows}}{{.k}}:{{.v}}/{{$.name}} {{end}}",
    '{{define "T"}}<{{.}}>{{end}}{{template "T" .name}}{{template "T"}}',
    '{{block "B" .n}}[{{.}}]{{end}}',
    '{{printf "%s-%d" .name .n}} {{.name | printf "%q"}} {{"x" | printf "%s%s" "y"}}',
    '{{len .list}} {{len .name}} {{index .list 1}} {{index .strings "job"}} {{slice .name 1 2}}',
    '{{index .rows 1 "k"}} {{(index .rows 0).k}} {{(printf "%d" 3)}}',
    "{{eq .n 1 42}} {{ne .name \"x\"}} {{lt 1 2}} {{le 2 2}} {{gt .f 0.5}} {{ge \"b\" \"a\"}}",
    '{{html "<a&\'\\">"}} {{js "it\'s <x>"}} {{urlquery "a b&c=d/~"}} {{print 1 2 "x" 3 4}}',
    '{{println "a" 1}}{{upper .name}}{{.name | upper | printf "%-5s|"}}',
    "{{`raw \\n`}} {{'a'}} {{0x1F}} {{1e3}} {{1_000}} {{0b11}} {{017}} {{1.50}}",
    '{{"\\u00e9\\x41\\t\\101"}}',
    "{{true}} {{false}} {{1.0}} {{-0.5}} {{100000000000000000000.0}} {{1e-7}}",
    '{{ "}}" }} {{ "{{" }}',
    "{{$}}{{if $x := .n}}{{$x}}{{end}}",
    "{{- if .yes }}\n  yes\n{{- end }}\n",
    "{{ .nested.inner.deep | printf \"%5s\" | len }}",
    # What is wrong is wrong for both.
    "{{", "{{.name", "{{if}}x{{end}}", "{{if .name}}x", "{{end}}", "{{else}}", "{{nope .x}}", "{{$nope}}",
    "{{break}}", "{{.name.x}}", "{{index .list 9}}", "{{template \"none\"}}", "{{eq 1 1.0}}",
    "{{lt 1 \"a\"}}", "{{1 | 2}}", "{{nil}}", "{{.n 1}}", "{{len 3}}", "{{/* open", "{{\"open}}",
    "{{range .name}}{{end}}", "{{define \"a\"}}", "{{.list.x}}", "{{x := 1}}", "{{(1}}", "{{eq .list .list}}",
    "{{$a, $b := .n}}", "{{index .none 1}}", "{{9223372036854775808}}", "{{'ab'}}", "{{.a b}}", "{{.}x}}",
]  # fmt: skip


@pytest.fixture(scope="module")
def go():
    try:
        return build.program()
    except UnavailableError as error:
        if in_ci():
            raise
        pytest.skip(str(error).splitlines()[0])


def spoken(data):
    """Return data as our own templates take it: what is below "strings" has the zero of strings."""
    return {**data, "strings": Map(data["strings"])}


def render(template: str) -> tuple[str, bool]:
    try:
        return Template(template, {"upper": str.upper}).render(spoken(DATA)), False
    except TemplateError as error:
        return str(error), True


def test_each_template_renders_or_fails_as_by_go(go):
    answers = build.ask(go, [{"template": text, "data": DATA} for text in TEMPLATES])
    for template, expected in zip(TEMPLATES, answers, strict=True):
        text, failed = render(template)
        assert failed == bool(expected["error"]), (template, text, expected)
        assert text == expected["text"] if not failed else text.startswith("line "), template


VERBS = "vdbcoxXeEfFgGsqtT%"
NUMBERS = (0, 1, -7, 65, 123456789, -(2**40))
FRACTIONS = (0.1, -2.5, 1e21 + 0.5, 123456.75, 1.5e-9, 999999.5, 1234567.25, 3.3e300)
TEXTS = ("", "a", 'say "é"\n', "longer text", "日本")


def test_printf_prints_what_go_prints(go):
    random = Random(12)
    questions = []
    for _ in range(4000):
        parts, values = [], []
        for _ in range(random.randint(1, 3)):
            flags = "".join(random.choices("-+ 0", k=random.choice((0, 0, 1, 2))))
            width, precision = (
                random.choice(("", "", "1", "8", "20")),
                random.choice(("", "", ".", ".3")),
            )
            verb = random.choice(VERBS)
            # Hexadecimal fractions are not rounded here.
            parts.append(f"%{flags}{width}{'' if verb in 'xX' else precision}{verb}")
            values.append(random.choice((*NUMBERS, *FRACTIONS, *TEXTS, True)))
        questions.append({"format": "|".join(parts), "arguments": values[: random.randint(2, 3)]})
    for question, answer in zip(questions, build.ask(go, questions), strict=True):
        assert sprintf(question["format"], question["arguments"]) == answer["text"], question


def test_a_struct_has_fields_and_methods():
    sample = Object({"Labels": Map({"job": "web"}), "Value": 2.0})
    alerts = Object({"All": [sample]}, methods={"Firing": lambda: [sample], "Named": str.upper})
    text = '{{range .Firing}}{{.Labels.job}}={{.Value}}{{.Labels.none}}{{end}} {{.Named "x"}} {{len .All}}'
    assert Template(text).render(alerts) == "web=2 X 1"
    with pytest.raises(TemplateError, match="can't evaluate field Nope"):
        Template("{{.Nope}}").render(alerts)
    with pytest.raises(TemplateError, match="error calling Named"):
        Template("{{.Named}}").render(alerts)


def test_python_is_out_of_reach():
    for text in ("{{.__class__}}", "{{.name.__class__}}", "{{.strings.keys}}", "{{.list.append}}"):
        rendered, failed = render(text)
        assert failed or rendered in ("", "<no value>")


def test_what_never_ends_is_stopped():
    loop = Template('{{define "a"}}{{template "a"}}{{end}}{{template "a"}}')
    with pytest.raises(TemplateError, match="depth"):
        loop.render(None)
    with pytest.raises(TemplateError, match="longer than 10 characters"):
        Template("{{range 9}}{{range 9}}xxx{{end}}{{end}}", largest=10).render(None)
    with pytest.raises(TemplateError, match="too deeply"):
        Template("{{" + "(" * 5000 + "1" + ")" * 5000 + "}}")


def test_templates_of_another_file_can_be_called():
    library = Template('{{define "title"}}{{.name}}!{{end}}')
    assert Template('{{template "title" .}}', templates=library.defined).render(DATA) == "api!"


def test_functions_given_for_one_rendering_take_the_place_of_others():
    template = Template("{{now}}", {"now": lambda: 1})
    assert template.render(None, {"now": lambda: 2}) == "2"
    assert template.render(None) == "1"
