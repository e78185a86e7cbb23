from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_every_example_is_in_the_readme():
    """A file that nobody finds shows nothing."""
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for path in EXAMPLES.glob("*.py"):
        assert f"`{path.name}`" in readme
