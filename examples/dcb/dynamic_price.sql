-- Products are ordered at the price that the customer was shown, for some time after it has changed. After "Dynamic product price" at
-- dcb.events. The order depends on the prices of all of its products, and on nothing else: other orders are no conflict.

CREATE EXTENSION eventstore;
\set SHOW_CONTEXT never

CREATE FUNCTION set_price(product text, price numeric) RETURNS bigint LANGUAGE sql AS
$$ SELECT es_append('product-' || product, -1, jsonb_build_object('type', 'PriceSet', 'data', jsonb_build_object('price', price), 'tags', jsonb_build_array('product:' || product))) $$;

-- order: {"product": price, ...} as the customer has seen them
CREATE FUNCTION place_order(number text, products jsonb, grace interval DEFAULT '10 minutes', at timestamptz DEFAULT clock_timestamp()) RETURNS bigint LANGUAGE plpgsql AS
$$
DECLARE
	read_to bigint := es_head();
	prices  jsonb  := (SELECT jsonb_agg(jsonb_build_object('types', jsonb_build_array('PriceSet'), 'tags', jsonb_build_array('product:' || key))) FROM jsonb_each(products));
	wrong   text;
BEGIN
	-- A price is good until grace after the next one was set.
	SELECT string_agg(key, ', ' ORDER BY key) INTO wrong
	FROM jsonb_each_text(products) o
	WHERE NOT EXISTS (
		SELECT FROM (SELECT tags, data, lead(recorded_at) OVER (PARTITION BY tags ORDER BY position) AS replaced FROM es_read_query(prices, 0, NULL)) p
		WHERE p.tags = ARRAY['product:' || o.key] AND (p.data ->> 'price')::numeric = o.value::numeric AND coalesce(p.replaced + grace > at, true));
	IF wrong IS NOT NULL THEN
		RAISE EXCEPTION 'not the price any more: %', wrong;
	END IF;
	RETURN es_append_if('order-' || number, jsonb_build_object('type', 'Ordered', 'data', products,
						'tags', (SELECT jsonb_agg('product:' || key) FROM jsonb_each(products))), prices, read_to);
END
$$;

SELECT set_price('tea', 3), set_price('cup', 8);
SELECT place_order('1', '{"tea": 3, "cup": 8}');
SELECT set_price('tea', 4);
SELECT place_order('2', '{"tea": 3, "cup": 8}');
SELECT place_order('3', '{"tea": 3, "cup": 8}', at => clock_timestamp() + interval '1 hour');
SELECT place_order('3', '{"tea": 4, "cup": 7}');
SELECT place_order('3', '{"tea": 4}');
SELECT stream, data FROM es_read_query('[{"types": ["Ordered"], "tags": ["product:tea"]}]');
