-- Runs once, on an empty data directory; the database "boucle" is made by the image.
CREATE DATABASE mlflow;
