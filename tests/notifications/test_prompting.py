"""What a person at a terminal is asked about an approval, and what becomes of their lines."""

from typing import Any

import pytest

from notifications.prompting import Answer, ApprovalPrompt

ARGUMENTS: dict[str, Any] = {"to": "bob", "copies": 2, "tags": ["a"]}


def prompted(*lines: str, arguments: dict[str, Any] | None = ARGUMENTS) -> ApprovalPrompt:
    prompt = ApprovalPrompt({"approval_id": "approval_1", "reason": "May I?", "arguments": arguments})
    for line in lines:
        assert prompt.answer is None
        prompt.take(f"{line}\n")
    return prompt


@pytest.mark.parametrize("line", ["y", "YES", "  yes "])
def test_yes_approves_the_arguments_as_they_are(line):
    assert prompted(line).answer == Answer(decision="approve")


def test_no_is_asked_why():
    assert prompted("n").question == "Why not? (Enter: no comment) "
    assert prompted("no", "Not now.").answer == Answer(decision="reject", comment="Not now.")
    assert prompted("no", "").answer == Answer(decision="reject")
    assert prompted("no", "x" * 3_000).answer == Answer(decision="reject", comment="x" * 2_000)


@pytest.mark.parametrize("line", ["", "   ", "yep", "approve", "edit it"])
def test_nothing_else_decides_anything(line):
    prompt = prompted(line)

    assert prompt.answer is None
    assert prompt.question.endswith("Approve? yes, no, or edit the arguments: ")
    assert prompt.question.startswith(f"'{line}' is none of these." if line.strip() else "Approve?")


def test_arguments_are_changed_one_by_one():
    assert prompted("e").question == "to = bob\nNew value (Enter: as it is): "
    assert prompted("e", "eve").question == "copies = 2\nNew value (Enter: as it is): "
    assert prompted("e", "eve", "", '["b"]', "y").answer == Answer(
        decision="approve", arguments={"to": "eve", "copies": 2, "tags": ["b"]}
    )
    assert prompted("e", "", "", "", "y").answer == Answer(decision="approve")


def test_what_is_no_json_is_asked_for_again():
    prompt = prompted("e", "7", "many")

    assert prompt.question.startswith("This is not JSON, such as 2: ")
    assert prompt.question.endswith("\ncopies = 2\nNew value (Enter: as it is): ")
    prompt.take("3")
    assert prompt.question == 'tags = ["a"]\nNew value (Enter: as it is): '


def test_an_answer_that_was_not_taken_is_asked_for_again_and_keeps_the_changes():
    prompt = prompted("e", "eve", "", "", "y")

    prompt.again("That does not fit.")

    assert prompt.answer is None
    assert prompt.question == "That does not fit.\nApprove? yes, no, or edit the arguments: "
    prompt.take("e")
    assert prompt.question.startswith("to = eve")


def test_a_number_that_became_a_text_may_become_a_number_again():
    prompt = prompted("e", "", '"2"', "", "e", "")

    assert prompt.question.startswith('copies = "2"\n')
    prompt.take("3")
    prompt.take("")
    prompt.take("y")
    assert prompt.answer == Answer(decision="approve", arguments={**ARGUMENTS, "copies": 3})


@pytest.mark.parametrize("arguments", [None, {}])
def test_without_arguments_there_is_nothing_to_edit(arguments):
    prompt = prompted("edit", arguments=arguments)

    assert prompt.question == "'edit' is none of these. Approve? yes, no: "
