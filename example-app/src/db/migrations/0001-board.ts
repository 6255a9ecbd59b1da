export const board = `
CREATE TABLE users (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  name text NOT NULL,
  password_hash text NOT NULL,
  roles text[] NOT NULL DEFAULT '{user}',
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX users_name ON users (lower(name));

CREATE TABLE photos (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  -- Of the original, in S3 and private; the thumbnail is public and comes a moment later.
  url text NOT NULL UNIQUE,
  thumbnail_url text UNIQUE,
  caption text NOT NULL DEFAULT '',
  likes integer NOT NULL DEFAULT 0,
  version integer NOT NULL DEFAULT 0,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX photos_user ON photos (user_id, id DESC);
CREATE INDEX photos_without_thumbnail ON photos (id) WHERE thumbnail_url IS NULL;

CREATE TABLE likes (
  photo_id bigint NOT NULL REFERENCES photos (id) ON DELETE CASCADE,
  user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  PRIMARY KEY (photo_id, user_id)
);
CREATE INDEX likes_user ON likes (user_id);
`
