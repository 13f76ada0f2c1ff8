"""Pages for people."""

from __future__ import annotations

import html


def landing(telemetry_path: str, version: str) -> bytes:
    """The page at /, UTF-8."""
    path, shown = html.escape(telemetry_path), html.escape(version)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>nsexporter</title>'
        f'</head><body><h1>nsexporter {shown}</h1><p><a href="{path}">Metrics</a></p>'
        "</body></html>\n"
    ).encode()
