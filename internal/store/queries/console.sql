-- name: InsertMember :exec
INSERT INTO members (id, email, name, role, password, issuer, subject, disabled_at, signed_in_at, version, created_at, updated_at)
VALUES (@id, @email, @name, @role, @password, @issuer, @subject, 0, 0, 1, @created_at, @updated_at);

-- name: Member :one
SELECT * FROM members WHERE id = @id;

-- name: MemberByEmail :one
SELECT * FROM members WHERE email = @email;

-- name: MemberBySubject :one
SELECT * FROM members WHERE issuer = @issuer AND subject = @subject AND subject <> '';

-- name: Members :many
SELECT * FROM members WHERE id > @after ORDER BY id LIMIT CAST(sqlc.arg(max) AS BIGINT);

-- name: CountMembers :one
SELECT COUNT(*) FROM members;

-- name: UpdateMember :execrows
UPDATE members SET name = @name, role = @role, disabled_at = @disabled_at, version = version + 1, updated_at = @updated_at
WHERE id = @id AND version = @version;

-- name: SetMemberPassword :execrows
UPDATE members SET password = @password, name = @name, version = version + 1, updated_at = @updated_at WHERE id = @id AND version = @version;

-- name: SetMemberIdentity :execrows
UPDATE members SET issuer = @issuer, subject = @subject, name = @name, role = @role, version = version + 1, updated_at = @updated_at
WHERE id = @id AND version = @version;

-- name: MemberSignedIn :exec
UPDATE members SET signed_in_at = @signed_in_at WHERE id = @id;

-- name: DeleteMember :execrows
DELETE FROM members WHERE id = @id AND version = @version;

-- LockOwners counts the owners who can sign in, and holds them until the
-- transaction ends: of two who remove each other one waits, and sees the rest.
-- name: LockOwners :execrows
UPDATE members SET updated_at = updated_at
WHERE role = 'owner' AND disabled_at = 0 AND (password <> '' OR subject <> '');

-- name: InsertMemberLink :exec
INSERT INTO member_links (hash, member, purpose, created_at, expires_at) VALUES (@hash, @member, @purpose, @created_at, @expires_at);

-- name: MemberLink :one
SELECT * FROM member_links WHERE hash = @hash;

-- name: UseMemberLink :execrows
DELETE FROM member_links WHERE hash = @hash;

-- name: DeleteMemberLinks :exec
DELETE FROM member_links WHERE member = @member;

-- name: ForgetMemberLinks :exec
DELETE FROM member_links WHERE expires_at < @expires_at;

-- name: InsertSignIn :exec
INSERT INTO sign_ins (id, hash, member, agent, address, sealed, created_at, seen_at, expires_at)
VALUES (@id, @hash, @member, @agent, @address, @sealed, @created_at, @seen_at, @expires_at);

-- name: UpdateSignIn :exec
UPDATE sign_ins SET sealed = @sealed, seen_at = @seen_at, expires_at = @expires_at WHERE hash = @hash;

-- name: SignIn :one
SELECT * FROM sign_ins WHERE hash = @hash;

-- name: SignIns :many
SELECT * FROM sign_ins WHERE member = @member AND member <> '' AND expires_at > @now ORDER BY seen_at DESC, id LIMIT 100;

-- name: DeleteSignIn :execrows
DELETE FROM sign_ins WHERE hash = @hash;

-- name: EndSignIn :execrows
DELETE FROM sign_ins WHERE id = @id AND member = @member;

-- name: EndSignIns :execrows
DELETE FROM sign_ins WHERE member = @member AND id <> @but;

-- name: ForgetSignIns :exec
DELETE FROM sign_ins WHERE expires_at < @expires_at;
