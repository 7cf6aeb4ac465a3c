import pytest

from maquette.apps.prompt_file import read_prompts
from maquette.core import BadInput


def test_text_files_hold_a_prompt_on_each_line_and_keep_order_and_duplicates(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("a red apple\n\n  a   blue chair \na red apple\n", encoding="utf-8")
    assert read_prompts(path) == ["a red apple", "a blue chair", "a red apple"]


def test_json_lines_keep_their_other_fields(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "a lily pad", "category": "lily pad", "color": null}\n')
    assert read_prompts(path) == [{"prompt": "a lily pad", "category": "lily pad", "color": None}]


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("p.txt", b"", "holds no prompts"),
        ("p.txt", b"\n \n", "holds no prompts"),
        ("p.txt", b"fine\n\xff\xfe", "UTF-8"),
        ("p.txt", b"fine\nbro\x00ken", r"line 2: .*U\+0000"),
        ("p.jsonl", b'{"prompt": "fine"}\nnot json', "line 2: not JSON"),
        ("p.jsonl", b'["prompt"]', "line 1: expected an object"),
        ("p.jsonl", b'{"prompt": 3}', "line 1: expected an object"),
        ("p.jsonl", b'{"prompt": ""}', "line 1: the prompt is empty"),
    ],
)
def test_bad_files_are_refused_with_their_line(tmp_path, name, content, complaint):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=complaint):
        read_prompts(tmp_path / name)


def test_missing_files_and_folders_are_refused(tmp_path):
    for path in (tmp_path / "nothing.txt", tmp_path):
        with pytest.raises(BadInput, match="cannot read"):
            read_prompts(path)
