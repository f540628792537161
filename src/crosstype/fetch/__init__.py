"""Downloads from public archives, with resume and checksums."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "download": ["Fetched"],
        "figshare": ["fetch_figshare", "manual_instructions", "use_local"],
        "gdc": ["GdcRequest", "fetch_gdc"],
        "hallmark": ["fetch_hallmark"],
        "http": ["Web"],
    },
)
