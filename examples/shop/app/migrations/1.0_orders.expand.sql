-- SPDX-License-Identifier: GPL-3.0-or-later
-- id is the client's own and not unique, so that a POST which a proxy replays shows as a second row.
CREATE TABLE orders (
  seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  id text NOT NULL,
  item text NOT NULL,
  channel text NOT NULL DEFAULT 'shop',
  release text NOT NULL,
  received_at timestamptz NOT NULL DEFAULT now(),
  processed_at timestamptz,
  processed_by text
);
CREATE INDEX orders_id ON orders (id);
CREATE INDEX orders_received_at ON orders (received_at);
CREATE INDEX orders_open ON orders (seq) WHERE processed_at IS NULL;

CREATE TABLE daily_reports (
  day date PRIMARY KEY,
  orders bigint NOT NULL,
  processed bigint NOT NULL,
  release text NOT NULL,
  written_at timestamptz NOT NULL DEFAULT now()
);
