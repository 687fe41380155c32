-- Numbers come from the database alone, so that a program cannot choose one.
CREATE FUNCTION audit_unnumbered() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.seq IS NOT NULL OR NEW.hash IS NOT NULL OR NEW.prev_hash IS NOT NULL OR NEW.recorded_at IS NOT NULL THEN
    RAISE EXCEPTION 'Audit entries are numbered by the database.' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER audit_unnumbered BEFORE INSERT ON audit_auditentry
  FOR EACH ROW EXECUTE FUNCTION audit_unnumbered();

-- Runs when the transaction commits: the head is the last row it locks, and it holds it for less than a millisecond.
-- The formula stands in rlmweb/audit/standalone.py, and a test compares the two.
CREATE FUNCTION audit_number() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  head audit_chainhead%ROWTYPE;
  moment timestamptz;
  digest bytea;
BEGIN
  SELECT * INTO head FROM audit_chainhead WHERE chain = NEW.chain FOR UPDATE;
  IF NOT FOUND THEN
    INSERT INTO audit_chainhead (chain, size, hash) VALUES (NEW.chain, 0, decode(repeat('00', 32), 'hex'))
      ON CONFLICT (chain) DO NOTHING;
    SELECT * INTO STRICT head FROM audit_chainhead WHERE chain = NEW.chain FOR UPDATE;
  END IF;
  moment := clock_timestamp();
  digest := sha256(
    convert_to(E'rlmweb/audit/v1\n', 'UTF8') || uuid_send(NEW.chain) || int8send(head.size + 1)
    || int8send((extract(epoch FROM moment) * 1000000)::bigint) || head.hash || convert_to(NEW.body, 'UTF8'));
  UPDATE audit_auditentry SET seq = head.size + 1, recorded_at = moment, prev_hash = head.hash, hash = digest
    WHERE id = NEW.id;
  UPDATE audit_chainhead SET size = head.size + 1, hash = digest WHERE chain = NEW.chain;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER audit_number AFTER INSERT ON audit_auditentry
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION audit_number();

CREATE FUNCTION audit_refuse_update() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  -- pg_trigger_depth: only audit_number may fill in what is empty.
  IF OLD.hash IS NULL AND pg_trigger_depth() > 1 THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION 'Audit entries are append-only.' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER audit_refuse_update BEFORE UPDATE ON audit_auditentry
  FOR EACH ROW EXECUTE FUNCTION audit_refuse_update();

-- What a segment of this chain stands for may go, and nothing else.
CREATE FUNCTION audit_refuse_delete() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT 1 FROM audit_auditsegment s WHERE s.chain = OLD.chain AND OLD.seq BETWEEN s.first_seq AND s.last_seq)
  THEN
    RETURN OLD;
  END IF;
  RAISE EXCEPTION 'Audit entries are append-only.' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER audit_refuse_delete BEFORE DELETE ON audit_auditentry
  FOR EACH ROW EXECUTE FUNCTION audit_refuse_delete();

CREATE FUNCTION audit_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'The audit log is append-only.' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER audit_refuse_truncate BEFORE TRUNCATE ON audit_auditentry
  FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER audit_refuse_segment_change BEFORE UPDATE OR DELETE ON audit_auditsegment
  FOR EACH ROW EXECUTE FUNCTION audit_refuse_change();
