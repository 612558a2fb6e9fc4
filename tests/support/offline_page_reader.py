"""usage: offline_page_reader.py FILE.html: refuses a page that is not well-formed or asks for anything from outside.

Prints the number of pictures, then the texts of all table cells, one a line.
"""
import base64
import io
import sys
from html.parser import HTMLParser
from pathlib import Path

from PIL import Image

VOID = {"meta", "input", "img", "br"}
ADDRESSES = {"src", "href", "srcset", "action", "data", "poster", "background"}


class Page(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open_tags = []
        self.pictures = []
        self.cells = []
        self.style = ""

    def handle_starttag(self, tag, attributes):
        if tag in ("script", "link", "iframe", "object", "embed", "base"):
            raise SystemExit(f"a page that opens offline needs no <{tag}>")
        for name, value in attributes:
            if name in ADDRESSES and not value.startswith("data:image/png;base64,"):
                raise SystemExit(f"<{tag} {name}> is not part of the page: {value[:60]}")
            if name.startswith("on"):
                raise SystemExit(f"<{tag} {name}> is a script")
        if tag == "img":
            self.pictures.append(dict(attributes)["src"].split(",", 1)[1])
        if tag == "td":
            self.cells.append("")
        if tag not in VOID:
            self.open_tags.append(tag)

    def handle_endtag(self, tag):
        if not self.open_tags or self.open_tags.pop() != tag:
            raise SystemExit(f"</{tag}> closes nothing")

    def handle_data(self, text):
        if "td" in self.open_tags:
            self.cells[-1] += text
        if "style" in self.open_tags:
            self.style += text


page = Page()
page.feed(Path(sys.argv[1]).read_text(encoding="utf-8"))
page.close()
if page.open_tags:
    raise SystemExit(f"still open at the end: {page.open_tags}")
if "url(" in page.style or "@import" in page.style:
    raise SystemExit("the style asks for something from outside")
for picture in page.pictures:
    with Image.open(io.BytesIO(base64.b64decode(picture, validate=True))) as image:
        image.load()
        if image.format != "PNG" or image.mode != "RGB":
            raise SystemExit(f"a picture is {image.format}, {image.mode}")
print(len(page.pictures))
print("\n".join(page.cells))
