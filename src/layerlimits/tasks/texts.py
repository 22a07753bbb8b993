"""Perplexity of your own texts: `texts:path=DIR`, or the folder `texts` in the data folder."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from layerlimits.tasks._texts import Texts, configured, local_documents, text_task
from layerlimits.types import Task


def _configured(task: Task, options: Mapping[str, str]) -> Task:
    """The task with the texts of a path; its name has the last part of the path."""
    documents = local_documents(options)
    name = f"texts:{Path(options['path']).stem}" if options.get("path") else "texts"
    named = replace(task, name=name, samples=Texts(name, documents))
    return configured(named, {key: value for key, value in options.items() if key not in ("path", "column")}, documents)


texts = replace(
    text_task("texts", local_documents({}), "perplexity of texts in files, one document per file or row"),
    configure=_configured,
)
