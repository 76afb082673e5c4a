-- SPDX-License-Identifier: GPL-3.0-or-later
-- The first statement works, the second does not: none of it may stay.
ALTER TABLE orders ADD COLUMN half_done text;
ALTER TABLE orders ADD CONSTRAINT orders_broken CHECK (no_such_column > 0);
