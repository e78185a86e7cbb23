import re

import pytest
from corpus import load_articles, load_questions

ARTICLES = {article.id: article for article in load_articles()}
QUESTIONS = load_questions()


def words(text):
    return {word for word in re.findall(r"[a-z0-9]+", text.lower()) if len(word) > 3}


def test_there_is_enough_of_both():
    """The corpus is as large as the README says."""
    assert len(ARTICLES) >= 120
    assert len(QUESTIONS) >= 40
    assert {article.lang for article in ARTICLES.values()} == {"en", "zh"}


def test_nothing_is_there_twice():
    """Ids, passages and questions are unique."""
    assert len(load_articles()) == len(ARTICLES)
    assert len({article.passage for article in ARTICLES.values()}) == len(ARTICLES)
    assert len({each.id for each in QUESTIONS}) == len(QUESTIONS)
    assert len({each.question for each in QUESTIONS}) == len(QUESTIONS)


@pytest.mark.parametrize("asked", QUESTIONS, ids=lambda asked: asked.id)
def test_every_question_has_an_answer(asked):
    """Every label names an article."""
    assert asked.answers
    assert set(asked.answers) <= ARTICLES.keys()


def test_some_questions_cross_languages():
    """Both languages are asked about in the other one."""
    crossing = {(asked.lang, ARTICLES[name].lang) for asked in QUESTIONS for name in asked.answers}
    assert {("en", "zh"), ("zh", "en")} <= crossing


@pytest.mark.parametrize("article", ARTICLES.values(), ids=lambda article: article.id)
def test_an_article_is_short_and_clean(article):
    """A title and a paragraph or two, which every model takes whole."""
    assert article.title.strip() == article.title != ""
    assert article.text.strip() == article.text
    assert 60 <= len(article.text) <= 600


@pytest.mark.parametrize(
    "asked", [asked for asked in QUESTIONS if asked.lang == "en"], ids=lambda asked: asked.id
)
def test_a_question_shares_few_words_with_its_answer(asked):
    """Matching words alone does not find the answer."""
    for name in asked.answers:
        shared = words(asked.question) & words(ARTICLES[name].passage)
        assert len(shared) <= 0.4 * len(words(asked.question))
