export const uploadsOnce = `
-- Of an upload straight to S3: it becomes one photo, however often it is completed.
ALTER TABLE photos ADD COLUMN upload_key text;
CREATE UNIQUE INDEX photos_upload_key ON photos (upload_key) WHERE upload_key IS NOT NULL;
`
