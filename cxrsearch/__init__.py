"""Search and understand chest X-ray collections by their DenseNet embeddings.

    import cxrsearch

    cxrsearch.build_index("images", "Data_Entry_2017.csv", index="cxr-index", weights="imagenet")
    answer = cxrsearch.open_index("cxr-index").query("image.png", k=20)
    answer.to_frame()

`__init__.pyi` lists the names. Each is imported when it is first used, so `import cxrsearch` loads neither torch nor
FAISS.
"""

from typing import Any

import lazy_loader

_export, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name != "__version__":
        return _export(name)
    from importlib.metadata import version  # slow to import

    return version("cxrsearch")
