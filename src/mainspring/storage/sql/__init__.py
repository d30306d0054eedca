"""The sql kit: SQLite and PostgreSQL behind one SQLAlchemy Core code."""
