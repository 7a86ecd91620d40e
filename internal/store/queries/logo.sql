-- name: SaveLogo :exec
INSERT INTO logos (assistant, name, image) VALUES (@assistant, @name, @image)
ON CONFLICT (assistant) DO UPDATE SET name = excluded.name, image = excluded.image;

-- name: DropLogo :exec
DELETE FROM logos WHERE assistant = @assistant;

-- name: Logo :one
SELECT image FROM logos WHERE name = @name;
