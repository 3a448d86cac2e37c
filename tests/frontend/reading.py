"""What a reader with poor sight, or with none, meets on a page: asked of the browser itself."""

from typing import Any

from playwright.async_api import Page

#: Text with less than 4.5:1 against what is behind it, as "ratio text". Colours are painted: any notation will do.
_FAINT = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = "#000";
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = ([r, g, b, a], [R, G, B]) => [r * a + R * (1 - a), g * a + G * (1 - a), b * a + B * (1 - a), 1];
  const behind = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) {
      const colour = rgba(getComputedStyle(at).backgroundColor);
      if (colour[3] > 0) layers.push(colour);
      if (colour[3] === 1) break;
    }
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255, 1]);
  };
  const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const contrast = (one, other) => {
    const [high, low] = [light(one), light(other)].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
  };
  const faint = [];
  let seen = 0;
  const judge = (element, colour, text) => {
    const ground = behind(element);
    const ratio = contrast(over(rgba(colour), ground), ground);
    seen += 1;
    if (ratio < 4.5) faint.push(`${ratio.toFixed(2)} ${text.trim().slice(0, 40)}`);
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    const text = texts.currentNode.textContent;
    const visible = element.checkVisibility({ opacityProperty: true, visibilityProperty: true });
    if (!text.trim() || element.closest("noscript") || !visible) continue;
    judge(element, element.closest("svg") ? getComputedStyle(element).fill : getComputedStyle(element).color, text);
  }
  for (const field of document.querySelectorAll("input[placeholder]")) {
    if (field.checkVisibility()) judge(field, getComputedStyle(field, "::placeholder").color, field.placeholder);
  }
  return { faint, seen };
}"""

_ACTING = {
    *("button", "link", "textbox", "searchbox", "combobox", "option", "checkbox", "radio", "tab", "menuitem"),
    "DisclosureTriangle",
}


async def faint_text(page: Page) -> list[str]:
    """Texts whose contrast is below 4.5:1."""
    told: dict[str, Any] = await page.evaluate(_FAINT)
    assert told["seen"] > 5, "hardly any text was found to judge"
    return list(told["faint"])


async def nameless(page: Page) -> list[str]:
    """Roles of the elements that act and that a screen reader has no name for."""
    session = await page.context.new_cdp_session(page)
    tree = await session.send("Accessibility.getFullAXTree")
    await session.detach()
    acting = [node for node in tree["nodes"] if not node.get("ignored") and node["role"]["value"] in _ACTING]
    assert acting, "nothing that acts was found"
    return [node["role"]["value"] for node in acting if not node.get("name", {}).get("value", "").strip()]


async def overflow(page: Page) -> int:
    """How many pixels the page is wider than the window."""
    width: int = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return width
