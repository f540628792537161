"""A viewer of slides and their attention maps, in the browser."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "app": ["serve"],
        "assets": ["fetch_assets"],
    },
)
