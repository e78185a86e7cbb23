"""Languages, themes, keyboards, readers, small screens."""

from __future__ import annotations

import json
import re

import pytest

from support import web_client
from support.browser import Browser, Page
from support.page import ask, settled
from support.web_front import Front

FOCUS = "(({id, name, value, tagName, innerText}) => id || value || innerText || tagName)"


def focused(page: Page) -> str:
    return page.js(f"{FOCUS}(document.activeElement)")


def tab_to(page: Page, what: str) -> None:
    """Tab until it has the focus."""
    for _ in range(60):
        if focused(page) == what:
            return
        page.press("Tab")
    raise AssertionError(f"no Tab leads to {what}, only to {focused(page)}")


def test_the_demo_model_calls_no_chinese_match_strong(browser: Browser, demo_page: str):
    """It knows English only, and would call half of wrong pairs strong."""
    with browser.page(languages="zh-CN") as page:
        page.open(demo_page)
        settled(page)
        assert page.text("#bases li:has(:checked) .name") == "客服知识库"
        assert "all-MiniLM-L6-v2" in page.see("#base-notice", "英语")
        page.click("#examples button")
        page.see("#warning", "没有意义")
        assert len(page.texts("#results .meaningless")) == 5
        assert page.texts("#results .strong") == []
        assert max(float(shown) for shown in page.texts("#results .digits")) > 0.4
        page.click("#bases input[value=sample-help-en]")
        page.see("#examples button", "When do I get my money back?")
        settled(page)
        page.click("#examples button")
        page.see("#results .strong", "Refunds are paid")
        assert page.texts("#warning .banner") == []
        ask(page, "什么时候退款？", bare=False)
        page.see("#warning", "没有意义")
        assert page.texts("#results .strong") == []
        assert page.errors == []


def test_the_browsers_language_is_spoken_and_the_other_a_button_away(browser: Browser, web: Front):
    with browser.page(languages="zh-CN,zh;q=0.9,en;q=0.8") as page:
        page.open(web.url)
        settled(page)
        assert page.js("document.documentElement.lang") == "zh-CN"
        assert page.text("#search") == "搜索"
        assert page.js("document.querySelector('#question').placeholder") == "想知道什么？"
        page.click("#language-button")
        page.see("#search", "Search")
        assert page.js("document.documentElement.lang") == "en"
        page.reload()
        settled(page)
        assert page.text("#search") == "Search"
        assert page.errors == []


def test_nothing_is_left_unsaid_in_either_language(page: Page):
    """The same sentences with the same gaps; English has a singular more."""
    both = page.js(
        "await Promise.all(['en', 'zh'].map(async (lang) => "
        "(await import(`/words/${lang}.js`))[lang]))"
    )
    en, zh = both
    assert {name for name in en if not name.endswith(".one")} == set(zh)
    for name, words in zh.items():
        assert set(re.findall(r"\{\w+\}", words)) == set(re.findall(r"\{\w+\}", en[name])), name
    settled(page)
    used = page.js(
        "[...document.querySelectorAll('[data-t], [data-t-label], [data-t-placeholder]')]"
        ".flatMap(({dataset: {t, tLabel, tPlaceholder}}) => [t, tLabel, tPlaceholder])"
    )
    assert set(filter(None, used)) <= set(en)


def test_the_theme_is_the_systems_or_yours(page: Page):
    settled(page)
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.js(paper)
    page.prefer("dark")
    page.until(f"{paper} !== {json.dumps(light)}")
    page.click("#theme-button")
    page.see("#theme-button", "light")
    page.until(f"{paper} === {json.dumps(light)}")
    page.reload()
    assert page.js(paper) == light
    page.prefer("light")
    page.click("#theme-button")
    page.see("#theme-button", "dark")
    page.until(f"{paper} !== {json.dumps(light)}")


def test_everything_can_be_done_with_the_keyboard(page: Page):
    """From the top: skip to the question, ask, change an option, choose a base, index one's own."""
    settled(page)
    page.press("Tab")
    assert page.js("document.activeElement.className") == "skip"
    page.press("Enter")
    page.press("Tab")
    assert focused(page) in {"question", "search"}
    page.js("document.querySelector('#question').focus()")
    page.type("rain")
    page.press("Enter")
    page.see("#results-status", "5 of 24")
    tab_to(page, "top-k")
    page.press("ArrowLeft", times=2)
    page.see("#results-status", "3 of 24")
    tab_to(page, "sample-help-en")
    page.press("ArrowDown")
    page.see("#bases li:has(:checked)", "Proverbs")
    settled(page)
    assert focused(page) == "sample-proverbs-en"
    tab_to(page, "texts")
    page.type("sun\nmoon")
    tab_to(page, "index")
    page.press("Enter")
    page.see("#bases", "2 entries")
    settled(page)
    page.js("document.querySelector('#key-button').focus()")
    page.press("Enter")
    page.until("document.querySelector('#key-dialog').open")
    assert focused(page) == "key"
    page.press("Escape")
    page.until("!document.querySelector('#key-dialog').open")
    assert focused(page) == "key-button"


def test_the_focus_is_visible(page: Page):
    settled(page)
    page.press("Tab", times=3)
    style = page.js(
        "(({outlineStyle, outlineWidth}) => [outlineStyle, outlineWidth])"
        "(getComputedStyle(document.activeElement))"
    )
    assert style == ["solid", "3px"]


def test_everything_that_takes_the_focus_has_a_name_for_readers(page: Page):
    settled(page)
    ask(page, "rain")
    for part in ("behind", "map", "entries", "options"):
        page.js(f"{{ document.querySelector('#{part}').open = true; }}")
    page.until("document.querySelector('.map') !== null")
    nodes = page.send("Accessibility.getFullAXTree")["nodes"]
    roles, nameless = set(), []
    for node in nodes:
        if node.get("ignored"):
            continue
        role, name = node["role"]["value"], node.get("name", {}).get("value", "")
        roles.add(role)
        can_focus = any(
            p["name"] == "focusable" and p["value"]["value"] for p in node["properties"]
        )
        if (can_focus or role in {"meter", "image", "progressbar"}) and not name.strip():
            nameless.append(role)
    assert [role for role in nameless if role != "RootWebArea"] == []
    assert {"banner", "main", "search", "complementary", "alert", "status", "meter"} <= roles
    ids = page.js("[...document.querySelectorAll('[id]')].map(({id}) => id)")
    assert len(ids) == len(set(ids))


@pytest.mark.slow
@pytest.mark.parametrize("languages", ["en-US", "zh-CN"])
def test_a_small_screen_shows_all_of_it(browser: Browser, web: Front, languages: str):
    """Nothing to scroll sideways, at 320 pixels too."""
    with browser.page(languages=languages, size=(320, 640)) as page:
        page.open(web.url)
        settled(page)
        page.click("#examples button")
        page.until("document.querySelectorAll('#results li').length === 5")
        for part in ("behind", "map", "entries", "options"):
            page.js(f"{{ document.querySelector('#{part}').open = true; }}")
        page.until("document.querySelector('.map') !== null")
        assert page.js("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.slow
def test_colours_have_contrast_in_both_themes(page: Page):
    """WCAG AA: 4.5 to 1 for text."""
    settled(page)
    ask(page, "rain")
    contrast = (
        "(() => { const canvas = document.createElement('canvas').getContext('2d', "
        "{willReadFrequently: true});"
        "const light = (colour) => { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);"
        "const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((v) => { v /= 255;"
        "return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });"
        "return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05; };"
        "const style = getComputedStyle(document.documentElement);"
        "const probe = document.body.appendChild(document.createElement('i'));"
        "const of = (name) => { probe.style.color = `var(--${name})`;"
        "return light(getComputedStyle(probe).color); };"
        "return PAIRS.map(([ink, paper]) => { const [a, b] = [of(ink), of(paper)];"
        "return [ink, paper, Math.max(a, b) / Math.min(a, b)]; }); })()"
    )
    pairs = [
        ["ink", "paper"], ["ink", "card"], ["soft", "card"], ["soft", "paper"], ["soft", "sunk"],
        ["accent", "paper"], ["on-accent", "accent"], ["strong", "strong-back"],
        ["soft", "strong-back"], ["warn", "warn-back"], ["bad", "bad-back"], ["below", "card"],
    ]  # fmt: skip
    for theme in ("light", "dark"):
        page.prefer(theme)
        for ink, paper, ratio in page.js(contrast.replace("PAIRS", json.dumps(pairs))):
            assert ratio >= (3 if ink == "below" else 4.5), (theme, ink, paper, ratio)


def test_scripts_and_styles_are_files_and_the_policy_says_so(web: Front):
    """No script and no style stands in the page, and none of another server may."""
    reply = web_client.get(web.url)
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*src=)", reply.text)
    assert not re.findall(r"(?:src|href)=\"(?:https?:)?//", reply.text)


def test_what_the_page_needs_is_a_few_small_files(page: Page):
    """It opens on a slow line, too: everything together, uncompressed."""
    settled(page)
    sizes = page.js("performance.getEntriesByType('resource').map((one) => one.decodedBodySize)")
    assert sum(sizes) < 150_000
