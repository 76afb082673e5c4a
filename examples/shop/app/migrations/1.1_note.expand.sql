-- SPDX-License-Identifier: GPL-3.0-or-later
-- 1.1 writes note where 1.0 wrote channel. The default is what lets 1.0 go on writing its rows.
ALTER TABLE orders ADD COLUMN note text NOT NULL DEFAULT '';
