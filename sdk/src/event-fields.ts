// Made by types.mjs from docs/openapi.json.

/**
 * The typed fields of an event; any further field is kept by the service as a property of the event.
 */
export interface EventFields {
  /**
   * Value of the whole cart after this event.
   */
  cart_total?: number | string;
  /**
   * Name of the click id parameter that the address carried, such as `gclid`. Its value is never kept; a field
   * that is named like one is taken for its name alone.
   */
  click_id?: string;
  /**
   * Pixels from the left and from the top edge of the page, each from -1000000 to 1000000.
   *
   * @minItems 2
   * @maxItems 2
   */
  coordinates?: [number, number];
  /**
   * ISO 4217 code of every amount of this event, in any case.
   */
  currency?: string;
  /**
   * Anything else about the event: at most 16 KiB of JSON, with the fields that are not listed here, and 32 levels.
   */
  custom_properties?: {
    [k: string]: unknown;
  };
  /**
   * What is now known about the person: at most 16 KiB of JSON, 32 levels, names of up to 64 characters.
   */
  customer_attributes?: {
    [k: string]: unknown;
  };
  /**
   * What the user agent says when absent.
   */
  device_type?: "desktop" | "mobile" | "tablet" | "unknown";
  /**
   * Classes of the element, separated by spaces. Cut after 512 characters.
   */
  element_classes?: string;
  /**
   * Attribute `id` of the element. Cut after 128 characters.
   */
  element_id?: string;
  /**
   * A stable CSS selector. Cut after 512 characters.
   */
  element_selector?: string;
  /**
   * Visible text of the element. Cut after 256 characters.
   */
  element_text?: string;
  /**
   * Cut after 1024 characters.
   */
  error_message?: string;
  /**
   * Cut after 8192 characters.
   */
  error_stack?: string;
  /**
   * Name of the field, never its value. Cut after 128 characters.
   */
  form_field_name?: string;
  /**
   * Cut after 128 characters.
   */
  form_field_type?: string;
  form_id?: string;
  /**
   * What the form found wrong: at most 50 texts, the others are dropped. Each is cut after 256 characters.
   */
  form_validation_errors?: string[];
  order_id?: string;
  /**
   * Value of the order.
   */
  order_total?: number | string;
  /**
   * Milliseconds until the page was loaded. A fraction is rounded.
   */
  page_load_time_ms?: number;
  /**
   * Cut after 512 characters.
   */
  page_title?: string;
  /**
   * Full http or https address of the page. Of the query, campaign parameters and those the operator allows are
   * kept. Cut after 2048 characters.
   */
  page_url?: string;
  /**
   * Cut after 256 characters.
   */
  product_category?: string;
  product_id?: string;
  /**
   * Cut after 256 characters.
   */
  product_name?: string;
  /**
   * Price of one piece.
   */
  product_price?: number | string;
  /**
   * Pieces.
   */
  quantity?: number;
  /**
   * Full address of the page before; one that cannot be read is dropped. Cut after 2048 characters.
   */
  referrer?: string;
  /**
   * Width and height of the screen in pixels, each from 0 to 1000000.
   *
   * @minItems 2
   * @maxItems 2
   */
  screen_resolution?: [number, number];
  /**
   * Percent of the page's height that was seen. A fraction is rounded.
   */
  scroll_depth?: number;
  /**
   * What was searched for. Cut after 256 characters.
   */
  search_query?: string;
  /**
   * Results that were found.
   */
  search_results_count?: number;
  /**
   * Seconds that the page was visible. Those of all `page_leave` events of a session are added up.
   */
  time_on_page_seconds?: number;
  /**
   * The request's own header when absent.
   */
  user_agent?: string;
  /**
   * Cut after 256 characters.
   */
  utm_campaign?: string;
  /**
   * Cut after 256 characters.
   */
  utm_content?: string;
  /**
   * Cut after 256 characters.
   */
  utm_medium?: string;
  /**
   * Comes before the parameter of the same name in `page_url`, as the next four do. Cut after 256 characters.
   */
  utm_source?: string;
  /**
   * Cut after 256 characters.
   */
  utm_term?: string;
  /**
   * Width and height of the window's inside in pixels, each from 0 to 1000000.
   *
   * @minItems 2
   * @maxItems 2
   */
  viewport_size?: [number, number];
  [k: string]: unknown;
}
