import report
from corpus import load_articles, load_questions


def test_chinese_takes_two_cells():
    assert report.cells("退款ok") == 6
    assert report.clip("退款需要几天", 8) == "退款..."
    assert report.clip("short", 8) == "short"


def test_wrapped_lines_fit_and_lose_nothing():
    """English is cut at spaces, Chinese anywhere."""
    for article in load_articles():
        lines = report.wrapped(article.text, 94)
        assert all(report.cells(line) <= 94 for line in lines)
        assert "".join(lines).replace(" ", "") == article.text.replace(" ", "")


def test_a_word_longer_than_a_line_is_cut():
    assert report.wrapped("a" * 25 + " b", 10) == ["a" * 10, "a" * 10, "aaaaa b"]


def test_a_question_shows_its_answer_wherever_it_ranks(capsys):
    """The three best, then the labelled one with its place, in the scores of each way."""
    articles = {article.id: article for article in load_articles()}
    ranking = {name: 1 - place / 1000 for place, name in enumerate(articles)}
    asked = next(asked for asked in load_questions() if asked.lang == "zh")
    report.question(asked, {"one": ranking, "two": ranking}, articles)
    lines = capsys.readouterr().out.splitlines()
    place = list(articles).index(asked.answers[0]) + 1
    assert lines[-1].startswith(f"{place:3} * {articles[asked.answers[0]].title}")
    assert lines[-1].split()[-2:] == [f"{ranking[asked.answers[0]]:.4f}"] * 2
    assert all(report.cells(line) <= report.WIDTH for line in lines)


def test_equal_answers_are_shown_once(capsys):
    report.answers({"one": "the same", "two": "the same", "three": "another"})
    out = capsys.readouterr().out
    assert out.splitlines() == ["  one, two:", "      the same", "  three:", "      another"]


def test_a_progress_bar_is_thinned_out(capsys):
    """A download draws its bar many times; log lines come through whole."""
    show = report.log_printer()
    for line in ["loading", *[f"model: {percent}%|#" for percent in range(100)], "x" * 150]:
        show(line)
    out = capsys.readouterr().out
    assert out.count("%|") == 0
    assert out.count("x") == 150
    assert all(len(line) <= report.WIDTH for line in out.splitlines())
