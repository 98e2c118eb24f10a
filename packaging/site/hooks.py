"""What the site has beyond the pages of docs/: README.md is its front page, and files of the repository that a page links to become
pages of their own, with their text."""
import os
import re

from mkdocs.structure.files import File

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
LINK = re.compile(r"\]\(\.\./([^)#\s]+)(#[^)]*)?\)")
LANGUAGES = {"c": "c", "h": "c", "go": "go", "java": "java", "js": "javascript", "json": "json", "md": "markdown", "mjs": "javascript",
             "py": "python", "sh": "bash", "sql": "sql", "yaml": "yaml", "yml": "yaml"}


def front_page():
    """README.md, with its links as if it stood in docs/."""
    with open(os.path.join(TOP, "README.md"), encoding="utf-8") as file:
        text = re.sub(r"\]\((?!https?:|#)([^)]*)\)", r"](../\1)", file.read())
    return text.replace("](../docs/", "](")


def pages_of(config):
    yield front_page()
    for root, _, names in os.walk(config.docs_dir):
        for name in names:
            if name.endswith(".md"):
                with open(os.path.join(root, name), encoding="utf-8") as page:
                    yield page.read()


def shown(path):
    """The Markdown of a page that shows a file, or the files of a folder."""
    whole = os.path.join(TOP, path)
    if os.path.isdir(whole):
        names = sorted(n for n in os.listdir(whole) if os.path.isfile(os.path.join(whole, n)))
        return f"# {path}\n\n" + "\n".join(f"## {n}\n\n{quoted(os.path.join(path, n))}" for n in names)
    if path.endswith(".md"):
        with open(whole, encoding="utf-8") as file:
            # Its own links lead around in the repository.
            return re.sub(r"\[([^\]]*)\]\((?!https?:)[^)]*\)", r"\1", file.read())
    return f"# {path}\n\n{quoted(path)}"


def quoted(path):
    with open(os.path.join(TOP, path), encoding="utf-8") as file:
        text = file.read()
    language = LANGUAGES.get(path.rsplit(".", 1)[-1], "text")
    return f"````{language}\n{text.rstrip()}\n````\n"


def page_for(path):
    return "files/" + path.rstrip("/") + ".md" if not path.endswith(".md") else "files/" + path


def on_files(files, config):
    linked = {m.group(1).rstrip("/") for text in pages_of(config) for m in LINK.finditer(text)}
    files.append(File.generated(config, "index.md", content=front_page()))
    for path in sorted(linked):
        if not os.path.exists(os.path.join(TOP, path)):
            raise FileNotFoundError(f"a page links to ../{path}, which is not there")
        files.append(File.generated(config, page_for(path), content=shown(path)))
    return files


def on_page_markdown(markdown, page, config, files):
    depth = page.file.src_uri.count("/")
    return LINK.sub(lambda m: "](" + "../" * depth + page_for(m.group(1).rstrip("/")) + (m.group(2) or "") + ")", markdown)
