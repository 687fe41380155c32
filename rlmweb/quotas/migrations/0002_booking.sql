-- Books amounts of several resources in every scope that they count in, or in none: the only writer of balances and ledger.
--
-- Rows are changed in the order installation > organisation > team > user > key, then resource, then period, each by one
-- conditional UPDATE. Whoever changes a row of a resource has changed the installation's row of that resource before, so
-- nobody waits in a circle. p_strict: limits refuse; otherwise the truth is written down even beyond them.
--
-- Returns {"refused": null or {...}, "crossed": [...]}: the row whose limit refused (then nothing was booked), and those
-- whose use came to the soft limit or to the whole of it by this booking.
CREATE FUNCTION quotas_book(
  p_kind text, p_reservation uuid, p_session uuid,
  p_organisation uuid, p_team uuid, p_user uuid, p_key uuid,
  p_resources text[], p_levels boolean[], p_reserved bigint[], p_used bigint[],
  p_day date, p_price_version text, p_strict boolean
) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  kinds CONSTANT text[] := ARRAY['installation', 'organisation', 'team', 'user', 'key'];
  uuids CONSTANT uuid[] := ARRAY['00000000-0000-0000-0000-000000000000'::uuid, p_organisation, p_team, p_user, p_key];
  each_period text;
  starts date;
  is_limited boolean;
  most bigint;
  soft_percent int;
  fate text;
  balance record;
  found_before boolean;
  total_before bigint;
  total_now bigint;
  percent int;
  fact jsonb;
  refused jsonb := NULL;
  crossed jsonb := '[]'::jsonb;
BEGIN
  -- Most scopes have no limit: one look for all rows is cheaper than one for each.
  is_limited := EXISTS (
    SELECT 1 FROM quotas_quota q WHERE q.scope_uuid = ANY (uuids) AND q.resource = ANY (p_resources));
  BEGIN
    FOR i IN 1..5 LOOP
      CONTINUE WHEN uuids[i] IS NULL;
      FOR j IN 1..cardinality(p_resources) LOOP
        FOREACH each_period IN ARRAY CASE WHEN p_levels[j] THEN ARRAY['none'] ELSE ARRAY['day', 'month'] END LOOP
          starts := CASE each_period
            WHEN 'day' THEN p_day WHEN 'month' THEN date_trunc('month', p_day)::date ELSE DATE '1970-01-01' END;
          most := NULL;
          IF is_limited THEN
            SELECT q."limit", q.soft_percent, q.on_exceed INTO most, soft_percent, fate FROM quotas_quota q
              WHERE q.scope_kind = kinds[i] AND q.scope_uuid = uuids[i] AND q.resource = p_resources[j]
                AND q.period = each_period;
          END IF;
          found_before := false;
          LOOP
            UPDATE quotas_balance b SET reserved = b.reserved + p_reserved[j], used = b.used + p_used[j]
              WHERE b.scope_uuid = uuids[i] AND b.resource = p_resources[j] AND b.period = each_period
                AND b.period_start = starts AND b.scope_kind = kinds[i]
                AND (NOT p_strict OR most IS NULL
                     OR b.used + b.reserved + p_reserved[j] + p_used[j] <= most)
              RETURNING b.used, b.reserved INTO balance;
            EXIT WHEN FOUND;
            IF found_before THEN
              SELECT b.used, b.reserved INTO balance FROM quotas_balance b
                WHERE b.scope_uuid = uuids[i] AND b.resource = p_resources[j] AND b.period = each_period
                  AND b.period_start = starts AND b.scope_kind = kinds[i];
              refused := jsonb_build_object(
                'kind', kinds[i], 'uuid', uuids[i], 'resource', p_resources[j], 'period', each_period,
                'limit', most, 'used', balance.used + balance.reserved,
                'requested', p_reserved[j] + p_used[j], 'on_exceed', fate);
              RAISE EXCEPTION 'refused' USING ERRCODE = 'RQ001';
            END IF;
            -- Somebody else may have made the row since: only the second look at it says that the limit refuses.
            INSERT INTO quotas_balance (scope_kind, scope_uuid, resource, period, period_start, used, reserved)
              VALUES (kinds[i], uuids[i], p_resources[j], each_period, starts, 0, 0) ON CONFLICT DO NOTHING;
            found_before := true;
          END LOOP;
          IF most IS NOT NULL THEN
            -- A level is what is held; of a flow only what was really used is told to people.
            total_now := balance.used + CASE WHEN p_levels[j] THEN balance.reserved ELSE 0 END;
            total_before := total_now - p_used[j] - CASE WHEN p_levels[j] THEN p_reserved[j] ELSE 0 END;
            FOREACH percent IN ARRAY ARRAY[soft_percent, 100] LOOP
              IF total_before * 100 < most * percent AND total_now * 100 >= most * percent THEN
                fact := jsonb_build_object(
                  'kind', kinds[i], 'uuid', uuids[i], 'resource', p_resources[j], 'period', each_period,
                  'limit', most, 'used', total_now, 'percent', percent);
                IF NOT crossed @> jsonb_build_array(fact) THEN
                  crossed := crossed || fact;
                END IF;
              END IF;
            END LOOP;
          END IF;
        END LOOP;
      END LOOP;
    END LOOP;
    INSERT INTO quotas_ledgerentry (
        kind, reservation, session_uuid, organisation_uuid, team_uuid, user_uuid, key_uuid, resource, reserved, used,
        day, price_version)
      SELECT p_kind, p_reservation, p_session, p_organisation, p_team, p_user, p_key, n.resource, n.reserved, n.used,
        p_day, p_price_version
      FROM unnest(p_resources, p_reserved, p_used) AS n (resource, reserved, used);
  EXCEPTION WHEN SQLSTATE 'RQ001' THEN
    crossed := '[]'::jsonb;  -- the block's changes are undone; nothing was booked
  END;
  RETURN jsonb_build_object('refused', refused, 'crossed', crossed);
END $$;

-- Rows that change all the time: leave room beside each, so that a change touches no index.
ALTER TABLE quotas_balance SET (fillfactor = 50);

CREATE FUNCTION quotas_entry_time() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.at := clock_timestamp();
  RETURN NEW;
END $$;
CREATE TRIGGER quotas_entry_time BEFORE INSERT ON quotas_ledgerentry
  FOR EACH ROW EXECUTE FUNCTION quotas_entry_time();

CREATE FUNCTION quotas_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'The ledger of quotas is append-only.' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER quotas_refuse_change BEFORE UPDATE OR DELETE ON quotas_ledgerentry
  FOR EACH ROW EXECUTE FUNCTION quotas_refuse_change();
CREATE TRIGGER quotas_refuse_truncate BEFORE TRUNCATE ON quotas_ledgerentry
  FOR EACH STATEMENT EXECUTE FUNCTION quotas_refuse_change();
