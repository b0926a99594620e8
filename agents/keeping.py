"""Tables whose rows nobody changes or deletes, not even by SQL: the database itself refuses."""

from __future__ import annotations

from django.db.backends.base.schema import BaseDatabaseSchemaEditor

_SQLITE = """
CREATE TRIGGER {table}_keeps_{verb} BEFORE {verb} ON {table}
BEGIN SELECT RAISE(ABORT, 'rows of {table} are kept as they are'); END
"""
_POSTGRESQL = (
    """
CREATE FUNCTION {table}_keeps() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE integrity_constraint_violation USING MESSAGE = 'rows of {table} are kept as they are'; END $$
""",
    """
CREATE TRIGGER {table}_keeps BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION {table}_keeps()
""",
)


def keep_rows(table: str, editor: BaseDatabaseSchemaEditor) -> None:
    """From now on rows are only added."""
    statements = (
        [sql.format(table=table) for sql in _POSTGRESQL]
        if editor.connection.vendor == "postgresql"
        else [_SQLITE.format(table=table, verb=verb) for verb in ("UPDATE", "DELETE")]
    )
    for sql in statements:
        editor.execute(sql)


def release_rows(table: str, editor: BaseDatabaseSchemaEditor) -> None:
    """What `keep_rows` did is undone."""
    if editor.connection.vendor == "postgresql":
        editor.execute(f"DROP FUNCTION {table}_keeps() CASCADE")
    else:
        for verb in ("UPDATE", "DELETE"):
            editor.execute(f"DROP TRIGGER {table}_keeps_{verb}")
