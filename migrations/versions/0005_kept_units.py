"""What looks knew of each unit, kept in files for the next look to go on from; claims that are written in place."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_NOBODY = "-" * 36
_INBOX = sa.table("inbox_batch", sa.column("seal_id"), sa.column("claim"))


def upgrade() -> None:
    """Nothing is kept yet: the worker begins to. Claims stay, and a worker of the earlier release makes no new ones."""
    op.create_table(
        "kept_units",
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("experiment", sa.String(64), nullable=False),
        sa.Column("phase", sa.Integer(), nullable=False),
        sa.Column("question", sa.String(64), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("units", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("project", "experiment", "phase", name="pk_kept_units"),
        sa.ForeignKeyConstraint(
            ["project", "experiment"],
            ["experiment.project", "experiment.key"],
            name="fk_kept_units_project_experiment",
        ),
        comment="what looks knew of each unit, in files beside the lake",
    )
    # A new name: to a sealer of the earlier release, which looks for an empty place, every row would be claimed.
    comment = "seal_id of who seals it"
    op.add_column(
        "inbox_batch", sa.Column("claim", sa.String(36), nullable=False, server_default=_NOBODY, comment=comment)
    )
    op.execute(_INBOX.update().where(_INBOX.c.seal_id.is_not(None)).values(claim=_INBOX.c.seal_id))
    op.drop_index("ix_inbox_batch_project_kind_seal_id_count", "inbox_batch")
    op.drop_column("inbox_batch", "seal_id")
    op.create_index("ix_inbox_batch_project_kind_claim_count", "inbox_batch", ["project", "kind", "claim", "count"])


def downgrade() -> None:
    """Looks read all events again; the folders ``units`` beside the tables of the lake may be deleted."""
    op.add_column("inbox_batch", sa.Column("seal_id", sa.String(36), nullable=True))
    op.execute(_INBOX.update().where(_INBOX.c.claim != _NOBODY).values(seal_id=_INBOX.c.claim))
    op.drop_index("ix_inbox_batch_project_kind_claim_count", "inbox_batch")
    op.drop_column("inbox_batch", "claim")
    op.create_index("ix_inbox_batch_project_kind_seal_id_count", "inbox_batch", ["project", "kind", "seal_id", "count"])
    op.drop_table("kept_units")
