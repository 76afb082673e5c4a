-- Copyright (c) 2026, The Evenkeel authors
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later

-- The databases of the figure backup_traps. Each begins with a line of JSON; what is after '-- about' runs outside of it,
-- with {0} for its quoted name and {1} for its name in a string.

-- {"kind": "name", "title": "equals sign", "name": "a=b"}

-- {"kind": "name", "title": "address", "name": "postgresql://x"}

-- {"kind": "name", "title": "parent folder", "name": ".."}

-- {"kind": "name", "title": "leading dash", "name": "-x"}

-- {"kind": "name", "title": "long option", "name": "--help"}

-- {"kind": "name", "title": "connection string", "name": "dbname=postgres host=/nowhere"}

-- {"kind": "name", "title": "quotes and backslash", "name": "q'u\"o\\te"}

-- {"kind": "name", "title": "two lines", "name": "two\nlines of it"}

-- {"kind": "name", "title": "patterns", "name": ":x %s *?[{0}]"}

-- {"kind": "name", "title": "62 bytes of umlauts", "name": "äääääääääääääääääääääääääääääää"}

-- {"kind": "name", "title": "63 bytes", "name": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}

-- {"kind": "name", "title": "blanks at its ends", "name": " both "}

-- {"kind": "name", "title": "beyond the basic plane", "name": "日本 👩 Zoë"}

-- {"kind": "name", "title": "shell", "name": "$(touch x);`id`&"}

-- {"kind": "name", "title": "slash", "name": "a/b"}

-- {"kind": "object", "title": "large objects"}
select lo_from_bytea(0, decode(repeat('ab', 9000), 'hex')) from generate_series(1, 5);

-- {"kind": "object", "title": "partitions of two levels"}
create table p (i int, j int) partition by range (i);
create table p1 partition of p for values from (0) to (9) partition by list (j);
create table p11 partition of p1 for values in (1);
create table pd partition of p default;
insert into p values (1, 1), (50, 2);

-- {"kind": "object", "title": "inherited columns in another order"}
create table a (x int, y text);
create table b (y text, z int, x int);
alter table b inherit a;
insert into b values ('t', 1, 2);

-- {"kind": "object", "title": "foreign keys in a circle"}
create table a (i int primary key, b int);
create table b (i int primary key, a int references a);
insert into a values (1, 1);
insert into b values (1, 1);
alter table a add foreign key (b) references b;

-- {"kind": "object", "title": "generated and identity columns"}
create table g (i int generated always as identity, d int generated always as (n * 2) stored, n int);
insert into g (n) values (1), (2);

-- {"kind": "object", "title": "sequence far along and one that goes down"}
create sequence s;
select setval('s', 9000000000);
create sequence d increment -3 minvalue -99 start -1;
select nextval('d');

-- {"kind": "object", "title": "check function that needs search_path"}
create table l (i int);
insert into l values (0);
create function ok(int) returns boolean language sql as 'select $1 >= i from l';
create table c (n int check (ok(n)));
insert into c values (1);

-- {"kind": "object", "title": "materialized view whose function needs search_path"}
create function n() returns bigint language sql as 'select count(*) from kept';
create materialized view m as select n() as n;

-- {"kind": "object", "title": "domain, enum, composite and range types"}
create domain d as int check (value > 0);
create type e as enum ('a', 'b');
create type c as (x d, y e);
create type r as range (subtype = float8);
create table t (c c, r r, a e[]);
insert into t values ((1, 'b'), '[1,2)', '{a,b}');

-- {"kind": "object", "title": "event trigger that refuses DDL"}
create function refuse() returns event_trigger language plpgsql as $$begin raise 'no DDL here'; end$$;
create event trigger no_ddl on ddl_command_start execute function refuse();

-- {"kind": "object", "title": "trigger that refuses rows"}
create table q (i int);
insert into q values (1);
create function no() returns trigger language plpgsql as $$begin raise 'no rows'; end$$;
create trigger no before insert on q for each row execute function no();

-- {"kind": "object", "title": "rule that turns inserts away"}
create table q (i int);
insert into q values (1);
create rule away as on insert to q do instead nothing;

-- {"kind": "object", "title": "row security that is forced"}
create table q (i int);
insert into q values (1), (2);
alter table q enable row level security, force row level security;
create policy half on q using (i = 1);

-- {"kind": "object", "title": "grants on columns and by default"}
create table q (i int, j int);
grant select (j) on q to trap_reader;
alter default privileges grant select on tables to trap_reader;
revoke all on schema public from public;

-- {"kind": "object", "title": "own operator, cast and aggregate"}
create type w as (n int);
create function pw(w, w) returns w language sql immutable as 'select row($1.n + $2.n)::w';
create operator + (leftarg = w, rightarg = w, procedure = pw);
create function iw(int) returns w language sql immutable as 'select row($1)::w';
create cast (int as w) with function iw(int) as assignment;
create aggregate total(w) (sfunc = pw, stype = w);

-- {"kind": "object", "title": "text search configuration"}
create text search configuration own (copy = simple);
create table t (d tsvector);
insert into t values (to_tsvector('own', 'a b'));
create index on t using gin (d);

-- {"kind": "object", "title": "table without columns and one with dropped ones"}
create table none ();
insert into none default values;
create table d (a int, b int, c int);
alter table d drop column b;
insert into d values (1, 3);

-- {"kind": "object", "title": "row of 8 MB"}
create table big as select repeat(md5('x'), 262144) as t;

-- {"kind": "object", "title": "bytes, newlines and backslashes"}
create table o (t text, b bytea);
insert into o values (e'a\\.\n\\.\n\t\r\\N', decode('00ff0a5c2e', 'hex')), (null, ''), (e'\\N', null);

-- {"kind": "object", "title": "not a number and infinity"}
create table f (f float8, t timestamptz, n numeric);
insert into f values ('NaN', 'infinity', 'NaN'), ('-Infinity', '-infinity', 'Infinity'), (-0.0, '4713-01-01 00:00:00 BC', 1e100);

-- {"kind": "object", "title": "invalid index", "broken": "create unique index concurrently broken on i (n)"}
create table i (n int);
insert into i values (1), (1);

-- {"kind": "object", "title": "unlogged table"}
create unlogged table u as select 1 as i;

-- {"kind": "object", "title": "foreign table and a materialized view over it"}
create extension file_fdw;
create server f foreign data wrapper file_fdw;
create foreign table h (t text) server f options (filename '/etc/hostname');
create materialized view m as select count(*) from h;

-- {"kind": "object", "title": "publication and subscription"}
create publication all_of_it for all tables;
create subscription there connection 'host=127.0.0.1 port=1 dbname=x' publication x with (connect = false, slot_name = none);

-- {"kind": "object", "title": "names of two lines and quotes"}
create schema "s'""
"; create table "s'""
"."t
\" ("c
""" int);
insert into "s'""
"."t
\" values (1);

-- {"kind": "object", "title": "400 tables"}
do $$begin for i in 1..400 loop execute format('create table t%s as select %s as n', i, i); end loop; end$$;

-- {"kind": "extension", "title": "earthdistance with an index"}
create extension cube;
create extension earthdistance;
create table p (a float, b float);
insert into p select i, i from generate_series(1, 50) i;
create index on p using gist (ll_to_earth(a, b));

-- {"kind": "extension", "title": "index over a wrapper of unaccent"}
create extension unaccent;
create function plain(text) returns text language sql immutable as $$select unaccent('unaccent', $1)$$;
create index on kept (plain(note));

-- {"kind": "extension", "title": "hstore, ltree and citext"}
create extension hstore;
create extension ltree;
create extension citext;
create table t (h hstore, l ltree, c citext unique);
insert into t values ('a=>1', 'a.b', 'X');
create index on t using gist (l);

-- {"kind": "extension", "title": "trigrams and btree_gist"}
create extension pg_trgm;
create extension btree_gist;
create index on kept using gin (note gin_trgm_ops);
create table x (i int, r int4range, exclude using gist (i with =, r with &&));
insert into x values (1, '[1,2)');

-- {"kind": "extension", "title": "pg_partman"}
create schema partman;
create extension pg_partman schema partman;
create table public.parted (id bigint not null) partition by range (id);
select partman.create_parent('public.parted', 'id', 'native', '100');
insert into public.parted select generate_series(1, 150);

-- {"kind": "extension", "title": "in a schema of its own"}
create schema ext;
create extension pgcrypto schema ext;
create table t (p text default ext.crypt('x', ext.gen_salt('md5')));
insert into t values ('fixed');

-- {"kind": "extension", "title": "postgres_fdw with a password"}
create extension postgres_fdw;
create server r foreign data wrapper postgres_fdw options (host '127.0.0.1', port '1');
create user mapping for public server r options (user 'u', password 'p');
create foreign table remote (i int) server r;

-- {"kind": "setting", "title": "empty search_path"}
-- about
alter database {0} set search_path = '';

-- {"kind": "setting", "title": "read only by default"}
-- about
alter database {0} set default_transaction_read_only = on;

-- {"kind": "setting", "title": "statements of 1 ms"}
-- about
alter database {0} set statement_timeout = '1ms';

-- {"kind": "setting", "title": "other forms of output"}
create table o as select now()::date as d, '\xff'::bytea as b, 0.1::float8 as f, 'ä'::text as t, interval '1-2' as i;
-- about
alter database {0} set datestyle = 'German';
alter database {0} set bytea_output = 'escape';
alter database {0} set extra_float_digits = 0;
alter database {0} set client_encoding = 'LATIN1';
alter database {0} set intervalstyle = 'sql_standard';

-- {"kind": "setting", "title": "nobody may connect but its owner"}
-- about
revoke all on database {0} from public;
alter database {0} owner to trap_owner;
alter database {0} connection limit 3;
comment on database {0} is 'kept ''so''';

-- {"kind": "setting", "title": "settings of a role in it"}
-- about
alter role trap_reader in database {0} set work_mem = '7MB';

-- {"kind": "state", "title": "template"}
-- about
update pg_database set datistemplate = true where datname = '{1}';

-- {"kind": "state", "title": "takes no connections"}
-- about
alter database {0} allow_connections false;

-- {"kind": "state", "title": "LATIN1", "options": "encoding 'LATIN1' locale 'C' template template0"}
insert into kept values (0, 'äöü');

-- {"kind": "state", "title": "SQL_ASCII with bytes of no encoding", "options": "encoding 'SQL_ASCII' locale 'C' template template0"}
insert into kept values (0, e'\xe4\xff');

-- {"kind": "state", "title": "sorted by ICU", "options": "encoding 'UTF8' locale_provider icu icu_locale 'sv' locale 'C.UTF-8' template template0"}
create collation de (provider = icu, locale = 'de');
create table t (x text collate de);
insert into t values ('ä'), ('z');
create index on t (x);

-- {"kind": "state", "title": "transaction that is prepared"}
begin;
insert into kept values (-1, 'not committed');
prepare transaction 'trap';
