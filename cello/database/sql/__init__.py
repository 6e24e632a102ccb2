"""SQL databases: PostgreSQL by asyncpg, MySQL and MariaDB by aiomysql, SQLite by the standard library."""
