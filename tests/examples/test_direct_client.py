from corpus import load_articles


def test_it_embeds_asks_and_streams(run_example, qwen_server):
    """One line for the corpus, one for the answer, one for each article of the stream."""
    done = run_example("direct_client.py", qwen_server)
    assert done.returncode == 0, done.stderr
    model, answer, *streamed = done.stdout.splitlines()
    articles = load_articles()
    assert f"({len(articles)}, 64)" in model
    assert answer.partition("  ")[2] in {article.title for article in articles}
    assert {line.split()[-1] for line in streamed} == {article.id for article in articles}
