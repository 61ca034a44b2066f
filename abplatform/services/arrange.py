"""Arrange experiments in layers.

Each function works inside the caller's transaction, under the project's lock: a layer and the experiments and
holdouts that name it cannot drift apart, whoever else writes.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from abplatform.domain.layer import Layer, check_layer
from abplatform.errors import InUse
from abplatform.services.revise import apply_changes, claim
from abplatform.storage.layers import StoredLayer
from abplatform.storage.session import Work


def create_layer(work: Work, project: str, layer: Layer, *, now: datetime) -> StoredLayer:
    """Make a layer, with a salt that nobody has chosen.

    Raises:
        InvalidInput: naming each field that is wrong.
        AlreadyExists: the project has a layer of that key.
        NotFound: there is no such project.
    """
    work.projects.lock(project)
    check_layer(layer)
    stored = StoredLayer(layer=layer, salt=secrets.token_hex(16), created_at=now)
    work.layers.add(project, stored)
    return stored


def edit_layer(work: Work, project: str, key: str, changes: Mapping[str, object], *, revision: int) -> StoredLayer:
    """Change any field of a layer but its key; its unit type only while nothing depends on it.

    Changes that change nothing leave the revision as it is.

    Raises:
        NotFound: there is no such layer.
        PreconditionFailed: it has another revision by now.
        InUse: the unit type would change under an experiment that has started, or under a holdout.
        InvalidInput: naming each field that is wrong.
    """
    stored = claim(work, work.layers, project, key, revision=revision)
    layer = apply_changes(stored.layer, changes)
    if layer == stored.layer:
        return stored
    check_layer(layer)
    if layer.unit_type != stored.layer.unit_type:
        _check_unit_type_is_free(work, project, key)
    edited = replace(stored, layer=layer, revision=stored.revision + 1)
    work.layers.save(project, edited, expected_revision=revision)
    return edited


def delete_layer(work: Work, project: str, key: str, *, revision: int) -> None:
    """Delete a layer that nothing names.

    Raises:
        NotFound: there is no such layer.
        PreconditionFailed: it has another revision by now.
        InUse: an experiment, archived ones included, or a holdout names it; the sentence says which.
    """
    claim(work, work.layers, project, key, revision=revision)
    users = [each.key for each in work.experiments.all(project) if each.definition.layer == key]
    if users:
        raise InUse(f"{key} is the layer of {users[0]}")
    _check_no_holdout(work, project, key)
    work.layers.remove(project, key, expected_revision=revision)


def _check_unit_type_is_free(work: Work, project: str, key: str) -> None:
    started = [
        each.key for each in work.experiments.all(project) if each.definition.layer == key and each.status != "draft"
    ]
    if started:
        raise InUse(f"{key} is the layer of {started[0]}, which has started, so its unit_type stays")
    _check_no_holdout(work, project, key)


def _check_no_holdout(work: Work, project: str, key: str) -> None:
    named_by = [each.key for each in work.holdouts.all(project) if key in (each.holdout.layers or ())]
    if named_by:
        raise InUse(f"{key} is a layer of the holdout {named_by[0]}")
