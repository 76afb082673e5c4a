-- SPDX-License-Identifier: GPL-3.0-or-later
-- From here on 1.0 can store no order.
ALTER TABLE orders DROP COLUMN channel;
