"""``python -m website``: build the site into ``site/``."""

from website.building import ROOT, build

if __name__ == "__main__":
    build(ROOT / "site")
