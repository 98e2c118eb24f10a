-- Run once, by the image's entrypoint, in the database that it makes (POSTGRES_DB).
CREATE EXTENSION eventstore;
