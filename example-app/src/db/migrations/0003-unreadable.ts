export const unreadable = `
-- Why there can be no thumbnail: what only begins like a picture is not tried again every night.
ALTER TABLE photos ADD COLUMN unreadable text;
CREATE INDEX photos_to_show ON photos (id) WHERE thumbnail_url IS NULL AND unreadable IS NULL;
DROP INDEX photos_without_thumbnail;
`
